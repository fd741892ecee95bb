from pathlib import Path

import pytest

from benchmarks.scores.pooled_runs import as_list, pool, run_settings, same_cases
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import Manifest


def test_folds_are_pooled():
    assert pool([{"a": 1}, {"b": 2, "c": 3}], "m") == {"a": 1, "b": 2, "c": 3}
    with pytest.raises(InputError, match="m: case b is in two folders"):
        pool([{"a": 1, "b": 2}, {"b": 2}], "m")


def test_methods_are_compared_on_the_same_cases():
    assert same_cases({"m": {"b": 1, "a": 2}, "n": {"a": 3, "b": 4}}) == ["a", "b"]
    with pytest.raises(InputError, match="n: 2 cases are not in both it and m"):
        same_cases({"m": {"a": 1}, "n": {"b": 1}})
    with pytest.raises(InputError, match="no folder"):
        same_cases({})


def test_settings_of_a_run_and_of_masks_that_no_run_made(whole, tmp_path):
    found = run_settings([whole.run / "predictions"] * 2)
    assert found["bundle"] == whole.bundle.name and found["folds"] == 2 and found["seeds"] == [0]
    assert run_settings(whole.run / "seeds") is None and run_settings(tmp_path / "predictions") is None


def test_folds_have_seeds_of_their_own(tmp_path):
    record = {"seconds": 1.0, "device": "cpu", "threads": 1, "versions": {}}
    for seed in (3, 0):
        Manifest(tmp_path / str(seed)).set(
            stages={"infer": record | {"seed": seed}},
            bundle="b",
            overlays=[],
            overrides={"seed": seed, "refine": "crf"},
        )
    found = run_settings([tmp_path / "3" / "predictions", tmp_path / "0" / "predictions"])
    assert (found["folds"], found["seeds"], found["overrides"]) == (2, [0, 3], {"refine": "crf"})


def test_a_run_of_single_stages_names_no_bundle(tmp_path):
    """What learns from true masks runs two stages by themselves."""
    record = {"seconds": 1.0, "seed": 0, "device": "cpu", "threads": 1, "versions": {}}
    Manifest(tmp_path).set(stages={"infer": record}, overrides={})
    assert run_settings(tmp_path / "predictions") is None


def test_one_folder_is_a_list_of_one():
    assert as_list(Path("a")) == [Path("a")] and as_list([Path("a"), Path("b")]) == [Path("a"), Path("b")]
