import pytest

from benchmarks.rows.runs import Runs
from benchmarks.rows.shared_stages import share_stages
from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import config_hash
from monai_wsss.workflow.manifest import Manifest, folder_hash

NAMES = ["classify", "seed", "refine", "dsrg", "train"]
WRITES = {
    "classify": "classifier",
    "seed": "seeds",
    "refine": "pseudo_masks",
    "walk": "pseudo_masks",
    "train": "segmenter",
}
READS = {"seed": ["classifier"], "refine": ["seeds"], "walk": ["seeds"], "train": ["pseudo_masks"]}


def write_run(folder, *stages, text="", failed=()):
    """A run whose folders hold `text` each; what a stage read is what lies there now."""
    records = {}
    for name in stages:
        target = folder / WRITES[name]
        target.mkdir(parents=True)
        (target / "a.npy").write_text(text)
    for name in stages:
        inputs = {"dataset": "d"} | {read: folder_hash(folder / read) for read in READS.get(name, ())}
        status = "failed" if name in failed else "done"
        records[name] = {"status": status, "writes": WRITES[name], "inputs": inputs, "config": name, "by": folder.name}
    Manifest(folder).set(stages=records)
    return folder


def test_finished_stages_are_taken_with_their_records(tmp_path):
    source = write_run(tmp_path / "source", "classify", "seed", "refine", "train")
    share_stages(source, tmp_path / "run", NAMES)
    assert Manifest(tmp_path / "run").content["stages"] == Manifest(source).content["stages"]
    assert (tmp_path / "run" / "segmenter" / "a.npy").read_text() == ""


@pytest.mark.parametrize(
    ("stages", "failed", "names", "taken"),
    [
        (["classify", "seed", "refine", "train"], ["seed"], NAMES, ["classify"]),  # refine and train come after it
        (["classify", "seed", "walk", "train"], [], NAMES, ["classify", "seed"]),  # walk is no stage of the run
        (["classify", "seed", "refine", "train"], [], NAMES[:2], ["classify", "seed"]),
    ],
)
def test_a_stage_needs_what_it_was_made_from(tmp_path, stages, failed, names, taken):
    source = write_run(tmp_path / "source", *stages, failed=failed)
    share_stages(source, tmp_path / "run", names)
    assert list(Manifest(tmp_path / "run").content["stages"]) == taken
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"run.json", *(WRITES[name] for name in taken)}


def test_what_the_run_has_stays(tmp_path):
    source = write_run(tmp_path / "source", "classify", "seed", "refine", text="theirs")
    run = write_run(tmp_path / "run", "classify", text="ours")
    (run / "seeds").mkdir()
    share_stages(source, run, NAMES)
    assert (run / "classifier" / "a.npy").read_text() == "ours" and Manifest(run).stage("classify")["by"] == "run"
    assert not list((run / "seeds").iterdir()) and list(Manifest(run).content["stages"]) == ["classify"]


def test_the_first_run_that_has_the_same_gives_it(tmp_path):
    """One run's masks were made by another config; a third's segmenter learnt from those of the second."""
    for name, text in (("first", "a"), ("second", "b"), ("third", "b")):
        write_run(
            tmp_path / name, "classify", "seed", *(["refine", "train"] if name == "third" else ["refine"]), text=text
        )
    run = write_run(tmp_path / "run", "classify", "seed", text="b")
    for source in ("first", "second", "third"):
        share_stages(tmp_path / source, run, NAMES)
    assert [Manifest(run).stage(name)["by"] for name in ("seed", "refine", "train")] == ["run", "second", "third"]


def test_a_stage_of_another_config_is_not_taken(tmp_path):
    source = write_run(tmp_path / "source", "classify", "seed")
    configs = tmp_path / "run" / "bundle" / "configs"
    configs.mkdir(parents=True)
    (configs / "pipeline.yaml").write_text(
        "stages:\n- {name: classify, config: [a.yaml, b.yaml]}\n- {name: seed, config: b.yaml}\nrun: []\n"
    )
    (configs / "a.yaml").write_text("epochs: 3\nrate: 1\ndevice: cpu\n")
    (configs / "b.yaml").write_text("rate: 2\n")
    stages = Manifest(source).content["stages"]
    stages["classify"]["config"] = config_hash({"epochs": 3, "rate": 2})  # the later file over the earlier
    Manifest(source).set(stages=stages)
    share_stages(source, tmp_path / "run", NAMES)
    assert list(Manifest(tmp_path / "run").content["stages"]) == ["classify"]


def test_a_taken_file_is_its_own_once_it_is_written_anew(tmp_path):
    from monai_wsss.data import write_json

    source = write_run(tmp_path / "source", "classify")
    share_stages(source, tmp_path / "run", NAMES)
    write_json(tmp_path / "run" / "classifier" / "a.npy", {"new": 1})
    assert (source / "classifier" / "a.npy").read_text() == ""


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(InputError, match="no stage in its run"):
        share_stages(tmp_path, tmp_path / "run", NAMES)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("values", "until", "taken"),
    [
        ({}, None, ["classify", "seed", "refine", "train", "infer", "evaluate"]),
        ({"refine": "none"}, None, ["classify", "seed"]),
        ({"train_epochs": 2}, None, ["classify", "seed", "refine"]),
        ({}, "seed", ["classify", "seed"]),
    ],
)
def test_the_pipeline_finds_them_the_same(whole, tmp_path, values, until, taken):
    """By the records of a real run: nothing that is taken is run again, and nothing that is not the same is taken."""
    overrides = Manifest(whole.run).content["overrides"] | values
    runs = Runs(whole.data, whole.bundle, tmp_path, (), overrides, "cpu")
    runs.share([whole.run], until)
    records = Manifest(runs.method).content["stages"]
    assert list(records) == taken
    runs.run_method(taken[-1])
    assert Manifest(runs.method).content["stages"] == records
