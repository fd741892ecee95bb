from pathlib import Path

import numpy as np
import pytest

from monai_wsss.data import Case, slice_items
from monai_wsss.errors import InputError


def case(name, classes, slices=None):
    return Case(Path("x.nii"), name, "P", classes, slices)


def save(folder, name, *shape):
    folder.mkdir(exist_ok=True)
    np.save(folder / f"{name}.npy", np.zeros(shape, np.float32))


def test_one_item_a_slice(tmp_path):
    save(tmp_path, "a", 2, 1, 4, 4)
    save(tmp_path, "b", 3, 1, 4, 4)
    save(tmp_path / "seeds", "a", 2, 1, 4, 4)
    save(tmp_path / "seeds", "b", 3, 1, 4, 4)
    cases = [case("a", (1, 0), ((0, 0), (1, -1))), case("b", (-1, 1))]
    items = slice_items(cases, tmp_path, 2, extra={"seed": tmp_path / "seeds"})
    assert [(i["case"], i["slice"], i["classes"].tolist()) for i in items] == [
        ("a", 0, [0, 0]),
        ("a", 1, [1, -1]),
        ("b", 0, [-1, 1]),  # without slice labels, the volume's
        ("b", 1, [-1, 1]),
        ("b", 2, [-1, 1]),
    ]
    assert items[1]["image"] == (str(tmp_path / "a.npy"), 1)
    assert items[1]["seed"] == (str(tmp_path / "seeds" / "a.npy"), 1)
    assert items[0]["classes"].dtype == np.float32
    assert set(items[0]) == {"image", "case", "slice", "classes", "seed"}


def test_missing_arrays_and_mismatches_name_the_file(tmp_path):
    with pytest.raises(InputError, match=r"a\.npy: missing or unreadable"):
        slice_items([case("a", (1,))], tmp_path, 1)
    save(tmp_path, "a", 2, 1, 4, 4)
    with pytest.raises(InputError, match=r"a\.npy: 2 slices, the case has 3"):
        slice_items([case("a", (1,), ((0,), (1,), (1,)))], tmp_path, 1)
    with pytest.raises(InputError, match="case a: 1 classes for 2 labels"):
        slice_items([case("a", (1,))], tmp_path, 2)
    save(tmp_path / "seeds", "a", 5, 4, 4)
    with pytest.raises(InputError, match=r"seeds/a\.npy: 5 slices"):
        slice_items([case("a", (1,))], tmp_path, 1, extra={"seed": tmp_path / "seeds"})


def test_a_broken_array_is_named(tmp_path):
    (tmp_path / "a.npy").write_bytes(b"half")
    with pytest.raises(InputError, match=r"a\.npy: missing or unreadable"):
        slice_items([case("a", (1,))], tmp_path, 1)
