import json

import numpy as np
import pytest

from monai_wsss.data import atomic_path, write_array, write_json


def test_temporary_file_stands_beside_the_target_and_keeps_its_suffixes(tmp_path):
    with atomic_path(tmp_path / "new" / "mask.nii.gz") as temporary:
        assert temporary.parent == tmp_path / "new"
        assert temporary.name.endswith(".nii.gz") and temporary.name.startswith(".")
        temporary.write_text("x")
        assert not (tmp_path / "new" / "mask.nii.gz").exists()
    assert (tmp_path / "new" / "mask.nii.gz").read_text() == "x"


def test_failure_keeps_the_old_file_and_leaves_nothing_behind(tmp_path):
    target = tmp_path / "run.json"
    target.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_path(target) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert target.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


def test_json_refuses_what_json_cannot_hold(tmp_path):
    write_json(tmp_path / "a.json", {"ü": [1, None]})
    with pytest.raises(ValueError):
        write_json(tmp_path / "a.json", {"x": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text(encoding="utf-8")) == {"ü": [1, None]}


def test_array_is_read_back_and_pickles_are_refused(tmp_path):
    write_array(tmp_path / "a.npy", np.float32([[1, 2]]))
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy", mmap_mode="r"), [[1, 2]])
    with pytest.raises(ValueError):
        write_array(tmp_path / "b.npy", np.array([{}]))
    assert not (tmp_path / "b.npy").exists()
