"""One bad case does not stop the others."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from monai_wsss.engines import SkippingDataset
from monai_wsss.errors import InputError

ITEMS = [{"image": name, "case": name} for name in ("a", "bad", "b", "wrapped", "c")]


def read(item):
    if item["image"] == "bad":
        raise InputError("bad: not a volume")
    if item["image"] == "wrapped":  # as MONAI's Compose does
        try:
            raise InputError("wrapped: empty")
        except InputError as error:
            raise RuntimeError("applying transform Load") from error
    item["done"] = True
    return item


def test_good_items_come_in_order_and_bad_ones_are_listed():
    data = SkippingDataset(ITEMS, read)
    assert [item["case"] for item in data] == ["a", "b", "c"]
    assert data.skipped == [("bad", "not a volume"), ("wrapped", "empty")]
    assert "done" not in ITEMS[0]  # the caller's items stay as they are


def test_each_pass_lists_afresh():
    data = SkippingDataset(ITEMS, read)
    assert list(data) == list(data) and len(data.skipped) == 2


def test_another_error_is_a_bug_and_goes_on():
    def broken(item):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(SkippingDataset(ITEMS, broken))


def test_what_was_found_unreadable_is_listed_without_being_read():
    data = SkippingDataset([{"image": "/in/x", "case": "f1", "problem": "no volume"}, *ITEMS[:1]], read)
    assert [item["case"] for item in data] == ["a"] and data.skipped == [("f1", "no volume")]


@pytest.mark.parametrize("image", ["/in/DOE_JANE/scan.nii", SimpleNamespace(files=(Path("/in/DOE_JANE/scan.nii"),))])
def test_the_case_is_named_and_its_place_is_not(image, caplog):
    def refuse(item):
        raise InputError("/in/DOE_JANE/scan.nii: cannot be read as NIfTI (scan.nii is short)")

    data = SkippingDataset([{"image": image, "case": "c12"}], refuse)
    assert list(data) == []
    assert data.skipped == [("c12", "cannot be read as NIfTI (the file is short)")]
    assert "c12" in caplog.text and "DOE" not in caplog.text


def test_no_items():
    data = SkippingDataset([], read)
    assert list(data) == [] and data.skipped == []
