"""One bad case does not stop the others."""

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
    assert data.skipped == [("bad", "bad: not a volume"), ("wrapped", "wrapped: empty")]
    assert "done" not in ITEMS[0]  # the caller's items stay as they are


def test_each_pass_lists_afresh():
    data = SkippingDataset(ITEMS, read)
    assert list(data) == list(data) and len(data.skipped) == 2


def test_another_error_is_a_bug_and_goes_on():
    def broken(item):
        raise RuntimeError("out of memory")

    with pytest.raises(RuntimeError, match="out of memory"):
        list(SkippingDataset(ITEMS, broken))


def test_no_items():
    data = SkippingDataset([], read)
    assert list(data) == [] and data.skipped == []
