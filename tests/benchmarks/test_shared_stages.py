import pytest

from benchmarks.runs import share_stages
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import Manifest

NAMES = ["classify", "seed", "refine", "dsrg", "train"]


def write_run(folder, **stages):
    """Stage -> (folder that it writes, status); the file tells whose it is."""
    for writes, _ in stages.values():
        (folder / writes).mkdir(parents=True)
        (folder / writes / "a.npy").write_text(folder.name)
    records = {
        name: {"status": status, "writes": writes, "by": folder.name} for name, (writes, status) in stages.items()
    }
    Manifest(folder).set(stages=records)
    return folder


def test_finished_first_stages_are_copied_with_their_records(tmp_path):
    source = write_run(
        tmp_path / "source",
        classify=("classifier", "done"),
        seed=("seeds", "failed"),
        refine=("pseudo_masks", "done"),
        walk=("walked", "done"),  # no stage of the run that asks
        train=("segmenter", "done"),  # what runs differ in
    )
    share_stages(source, tmp_path / "run", NAMES)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", "classifier", "pseudo_masks"}
    assert list(Manifest(tmp_path / "run").content["stages"]) == ["classify", "refine"]
    assert Manifest(tmp_path / "run").stage("refine") == Manifest(source).stage("refine")


def test_what_the_run_has_stays(tmp_path):
    source = write_run(tmp_path / "source", classify=("classifier", "done"), seed=("seeds", "done"))
    run = write_run(tmp_path / "run", classify=("classifier", "running"))
    (run / "seeds").mkdir()
    share_stages(source, run, NAMES)
    assert (run / "classifier" / "a.npy").read_text() == Manifest(run).stage("classify")["by"] == "run"
    assert not list((run / "seeds").iterdir()) and not Manifest(run).stage("seed")


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no stage in its run"):
        share_stages(tmp_path, tmp_path / "run", NAMES)
    assert not (tmp_path / "run").exists()
