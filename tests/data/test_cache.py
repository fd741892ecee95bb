import json

import numpy as np
import pytest
import torch

from monai_wsss.data import Case, build_cache, cache_folder, cached_record
from monai_wsss.errors import InputError

PARAMETERS = {"size": [4, 3]}


def cases(tmp_path, *names):
    for name in names:
        (tmp_path / name).write_text(name)
    return [Case(tmp_path / name, name, name, (1,)) for name in names]


def preprocess(item):
    """Return a (C, H, W, D) = (1, 4, 3, 5) volume, or fail as the file's name says."""
    name = item["image"].rsplit("/", 1)[1]
    if name.startswith("bad"):
        raise InputError(f"{item['image']}: is bad")
    if name.startswith("wrapped"):
        raise RuntimeError("applying transform <x>") from ValueError("the cause\nmore")
    if name.startswith("kill"):
        raise KeyboardInterrupt
    return {"image": torch.arange(60).reshape(1, 4, 3, 5)}


def stamps(folder):
    return {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}


def test_key_depends_on_the_parameters_alone(tmp_path):
    # sha256 of {"size":[4,3]}, by coreutils: printf '{"size":[4,3]}' | sha256sum
    assert cache_folder(tmp_path, PARAMETERS) == tmp_path / "cache" / "03759386e244"
    assert cache_folder(tmp_path, {"a": 1, "b": 2}) == cache_folder(tmp_path, {"b": 2, "a": 1})
    assert cache_folder(tmp_path, {"a": 1}) != cache_folder(tmp_path, {"a": 2})


def test_slices_come_first(tmp_path):
    build_cache(cases(tmp_path, "a"), tmp_path / "c", preprocess, PARAMETERS)
    array = np.load(tmp_path / "c" / "a.npy", mmap_mode="r")
    assert array.shape == (5, 1, 4, 3) and array.dtype == np.float32 and array.flags.c_contiguous
    assert array[2, 0, 1, 0] == 1 * 15 + 0 * 5 + 2  # element (0, 1, 0, 2) of (1, 4, 3, 5)
    assert json.loads((tmp_path / "c" / "preprocessing.json").read_text()) == PARAMETERS
    assert cached_record("a", tmp_path / "c")["shape"] == [5, 1, 4, 3]
    assert cached_record("b", tmp_path / "c") == {}


def test_a_second_call_writes_nothing(tmp_path):
    build_cache(cases(tmp_path, "a", "b"), tmp_path / "c", preprocess, PARAMETERS)
    before = stamps(tmp_path / "c")
    again = [Case(tmp_path / name, name, name, (1,)) for name in "ab"]
    assert build_cache(again, tmp_path / "c", pytest.fail, PARAMETERS) == []
    assert stamps(tmp_path / "c") == before


def test_bad_cases_are_skipped_and_the_rest_is_done(tmp_path):
    seen = []
    items = [*cases(tmp_path, "a", "bad", "wrapped", "b"), Case(tmp_path / "gone", "gone", "g", (1,))]
    skipped = build_cache(items, tmp_path / "c", preprocess, PARAMETERS, lambda *p: seen.append(p))
    assert [(s.file.rsplit("/", 1)[1], s.reason) for s in skipped] == [
        ("bad", "is bad"),
        ("wrapped", "the cause"),
        ("gone", "not found; put the file back or prepare the data again"),
    ]
    assert (tmp_path / "c" / "a.npy").exists() and (tmp_path / "c" / "b.npy").exists()
    assert seen == [(1, 5, "a"), (2, 5, "bad"), (3, 5, "wrapped"), (4, 5, "b"), (5, 5, "gone")]


def test_an_interrupted_call_resumes(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        build_cache(cases(tmp_path, "a", "kill", "b"), tmp_path / "c", preprocess, PARAMETERS)
    before = stamps(tmp_path / "c")
    assert set(before) == {"a.npy", "a.json"}
    build_cache(
        [Case(tmp_path / n, n, n, (1,)) for n in "a"] + cases(tmp_path, "b"), tmp_path / "c", preprocess, PARAMETERS
    )
    after = stamps(tmp_path / "c")
    assert {name: after[name] for name in before} == before and "b.npy" in after


def test_a_changed_source_is_read_again_and_a_missing_one_is_not(tmp_path):
    build_cache(cases(tmp_path, "a", "b"), tmp_path / "c", preprocess, PARAMETERS)
    (tmp_path / "a").write_text("changed")
    (tmp_path / "b").unlink()
    seen = []

    def spy(item):
        seen.append(item["image"])
        return preprocess(item)

    assert build_cache([Case(tmp_path / n, n, n, (1,)) for n in "ab"], tmp_path / "c", spy, PARAMETERS) == []
    assert seen == [str(tmp_path / "a")]


def test_a_lost_array_is_written_again(tmp_path):
    build_cache(cases(tmp_path, "a"), tmp_path / "c", preprocess, PARAMETERS)
    (tmp_path / "c" / "a.npy").unlink()
    build_cache([Case(tmp_path / "a", "a", "a", (1,))], tmp_path / "c", preprocess, PARAMETERS)
    assert (tmp_path / "c" / "a.npy").exists()
