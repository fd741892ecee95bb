import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch
from tiny_bundles import SETTINGS

from benchmarks.accuracy import accuracy, named_folders
from benchmarks.rows import method_rows, steps
from benchmarks.rows.cells import STEPS_FILE
from benchmarks.rows.method_rows import write_rows
from benchmarks.rows.row_names import CEILING, DSRG, FEW_SHOT, METHOD, RANDOM, SHUFFLED, UNGATED
from benchmarks.rows.run_parts import preprocessing_of
from benchmarks.rows.runs import Runs, write_true_masks
from benchmarks.rows.steps import other_classifier_masks, prior_masks, step_masks
from benchmarks.scores import counts
from benchmarks.tables.rebuild import format_table
from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow.evaluation import evaluate
from monai_wsss.workflow.manifest import Manifest

FILM_BUNDLE = Path(__file__).parents[2] / "bundles" / "cxr_pneumothorax_irnet"
REFINED = ["class maps, thresholded", "class maps + CRF"]
WALKED = [*REFINED, "+ IRNet"]


def write_choice(run, refine):
    """A run's own bundle that says nothing but what refines its masks."""
    (run / "bundle" / "configs").mkdir(parents=True)
    (run / "bundle" / "configs" / "pipeline.yaml").write_text(f"refine: {refine}\nrun: []\n")
    return run


def test_rows_follow_the_method_when_it_was_run_anew(whole, tmp_path, files_of):
    """Else a second call with another setting would print the first one's class maps beside the second's segmenter."""
    dataset, preprocess = PreparedDataset.read(whole.data), preprocessing_of(whole.run)
    method = shutil.copytree(whole.run, tmp_path / "method")
    makers, prior = step_masks(method, whole.data, ["refine"]), prior_masks(method, ["refine"])
    folders = write_rows(dataset, preprocess, makers, prior, tmp_path / "rows")
    assert list(folders) == ["all background", "brightest blob", "position prior", *REFINED]
    before = {name: files_of(folder) for name, folder in folders.items()}
    for case in dataset.cases("test"):
        path = method / "pseudo_masks" / "refined" / f"{case.case}.npy"
        np.save(path, 1 - np.load(path))
    write_rows(dataset, preprocess, makers, prior, tmp_path / "rows")
    changed = {name for name, folder in folders.items() if files_of(folder) != before[name]}
    assert changed == {"class maps, thresholded"}


def test_the_ceiling_sees_no_true_mask_of_the_test_split(whole, tmp_path):
    dataset = PreparedDataset.read(whole.data)
    write_true_masks(dataset, whole.run, tmp_path)
    written = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.npy")}
    assert written == {f"pseudo_masks/refined/{case.case}.npy" for case in dataset.training + dataset.validation}


@pytest.mark.parametrize(
    ("refine", "done", "rows", "prior"),
    [
        ("crf", ["seed", "refine"], REFINED, "pseudo_masks/crf"),
        ("crf", ["seed"], [], None),
        ("none", ["seed", "refine", "dsrg"], REFINED[:1], "pseudo_masks/refined"),
        ("irnet", ["seed"], REFINED, None),
        ("irnet", ["seed", "confident", "irnet", "walk"], WALKED, "confident_masks"),
        ("bes", ["seed", "confident", "bes", "walk"], [*REFINED, "+ boundary exploration"], "confident_masks"),
    ],
)
def test_rows_by_what_the_run_did(tmp_path, monkeypatch, refine, done, rows, prior):
    monkeypatch.setattr(steps, "stage_of", lambda *place: SimpleNamespace(final_crf=False))
    run = write_choice(tmp_path, refine)
    assert list(step_masks(run, tmp_path, done)) == rows
    assert prior_masks(run, done) == (prior and run / prior)


def test_steps_of_the_walk_count_ignored_pixels_as_background(tmp_path, monkeypatch):
    """Maps .1, .4, .9: the threshold .3 takes two pixels; the stage's own mask ignores one and claims one.

    The walk's own masks are those after its CRF; without it its maps .9, .9, .1 make two pixels.
    """

    def walked_masks(maps, volume):
        assert not walk.final_crf
        return (maps > 0.5).byte()

    confident = SimpleNamespace(
        foreground_threshold=0.3,
        volume=lambda case: torch.zeros(1, 1, 1, 3),
        thresholded=lambda maps, threshold, volume: (maps > threshold).byte(),
        case_masks=lambda case: (torch.tensor([[[[0, 255, 1]]]], dtype=torch.uint8), None),
    )
    walk = SimpleNamespace(final_crf=True, volume=confident.volume, masks=walked_masks)
    stages = {"confident.yaml": confident, "walk.yaml": walk}
    monkeypatch.setattr(steps, "stage_of", lambda run, data, config, device: stages[config])
    for folder, array in {
        "seeds": np.float16([[[[0.1, 0.4, 0.9]]]]),
        "pseudo_masks/maps": np.float16([[[[0.9, 0.9, 0.1]]]]),
        "pseudo_masks/walk": np.uint8([[[0, 1, 255]]]),
    }.items():
        (tmp_path / folder).mkdir(parents=True)
        np.save(tmp_path / folder / "a.npy", array)
    makers = step_masks(write_choice(tmp_path, "bes"), tmp_path, ["seed", "walk"])
    found = {row: maker(SimpleNamespace(case="a")).tolist() for row, maker in makers.items()}
    assert found == {
        "class maps, thresholded": [[[0, 1, 1]]],
        "class maps + CRF": [[[0, 0, 1]]],
        "+ boundary exploration": [[[1, 1, 0]]],
        "+ boundary exploration + CRF": [[[0, 1, 0]]],
    }


def test_another_classifier_is_gated_by_the_methods(whole):
    """The method's own classifier gives the method's own masks; an untrained one claims nothing where that has none."""
    dataset = PreparedDataset.read(whole.data)
    own, random = (other_classifier_masks(whole.run, whole.data, trained) for trained in (whole.run, None))
    again = other_classifier_masks(whole.run, whole.data, None)
    for case in dataset.cases("test"):
        refined = np.load(whole.run / "pseudo_masks" / "refined" / f"{case.case}.npy")
        mapped = np.load(whole.run / "seeds" / f"{case.case}.npy").any((1, 2, 3))
        assert (own(case).numpy() == refined).mean() > 0.99  # seeds are kept in half precision
        assert not random(case).numpy()[~mapped].any()
        assert torch.equal(random(case), again(case))


@pytest.fixture(scope="module")
def table(whole, tmp_path_factory):
    """The method's run is already there; the ceiling, the ungated and the shuffled run are made."""
    work = tmp_path_factory.mktemp("accuracy")
    shutil.copytree(whole.run, work / "method")
    settings = Manifest(whole.run).content["overrides"]
    return work, accuracy(whole.data, whole.bundle, work, overrides=settings, device="cpu")


def test_all_rows(table):
    assert list(table[1]["rows"]) == [
        "all background",
        "brightest blob",
        "position prior",
        SHUFFLED,
        RANDOM,
        *REFINED,
        METHOD,
        UNGATED,
        FEW_SHOT,
        CEILING,
    ]
    assert table[1]["base"] == METHOD and table[1]["rows"][METHOD]["difference"]["mean"] == 0
    assert table[1]["rows"]["all background"]["papers"]["miou_all"] == pytest.approx(
        table[1]["rows"][METHOD]["papers"]["all_empty"]
    )
    assert {"supervised train", "few_shot train", "shuffled classify"} < table[1]["minutes"].keys()


def test_scores_are_those_of_evaluate(table, whole):
    """Every score of a row, by the product's own command on the same folder."""
    work, found = table
    cases = PreparedDataset.read(whole.data).test
    truths, patients = {case.case: case.truth for case in cases}, {case.case: case.patient for case in cases}
    folders = {METHOD: "method/predictions", "brightest blob": "rows/brightest_blob", CEILING: "supervised/predictions"}
    for name, folder in folders.items():
        expected = evaluate(work / folder, truths, None, patients, ["lesion"])
        for key in ("patients", "positives", "negatives", "lesions", "dataset", "papers", "classification"):
            assert found["rows"][name][key] == expected[key], (name, key)
        per_patient = [item["dice"] for item in expected["per_patient"]]
        assert found["rows"][name]["spread"]["patients"] == [pytest.approx(np.mean(per_patient))]


def test_a_table_says_what_learnt_from_masks_and_what_tells_the_label(table):
    found, text = table[1], format_table(table[1])
    assert found["from_masks"][CEILING][0]["epochs"] == 2 * SETTINGS["train_epochs"]
    assert "Supervised ceiling: mixed_unet, patients 5, best epoch " in text and "Few-shot segmenter: " in text
    assert f"slice position {found['nuisance']['slice position']['auc']['mean']:.3f}" in text
    assert "HOSP" not in json.dumps(found)  # no case, no patient


def test_a_second_call_runs_and_scores_nothing_anew(table, whole, monkeypatch):
    """The same table from what is there; what would run a stage or score a mask is taken away."""
    work, found = table
    monkeypatch.setattr(Runs, "_pipeline", None)
    monkeypatch.setattr(counts, "count_cases", None)
    settings = Manifest(whole.run).content["overrides"]
    monkeypatch.setattr(Runs, "names", ["classify", "seed", "refine", "train", "infer", "evaluate"])
    again = accuracy(whole.data, whole.bundle, work, overrides=settings, device="cpu")
    assert json.dumps(again) == json.dumps(found)


@pytest.mark.parametrize("change", ["record", "values", "extras", "data"])
def test_rows_are_made_anew_after_a_change(whole, tmp_path, monkeypatch, change):
    """Of the run, its settings, the rows that are asked for or the data; else they stay."""
    method, data = shutil.copytree(whole.run, tmp_path / "method"), shutil.copytree(whole.data, tmp_path / "data")
    runs, asked = Runs(data, whole.bundle, tmp_path, (), Manifest(whole.run).content["overrides"], "cpu"), []
    monkeypatch.setattr(Runs, "run_method", lambda self, until: asked.append(until) or method)
    for times in (1, 1):
        method_rows.method_rows(runs, "refine", trivial=False)
        assert len(asked) == times
    if change == "record":
        Manifest(method).set(overlays=["small"])
    elif change == "data":
        dataset = PreparedDataset.read(data)
        replace(dataset, training=dataset.training[1:]).write(data)
    elif change == "values":
        runs = replace(runs, values=runs.values | {"seed": 1})
    method_rows.method_rows(runs, "refine", ["random"] if change == "extras" else [], trivial=False)
    assert len(asked) == 2


def test_a_part_of_the_method_beside_another_table(table, whole, tmp_path):
    settings = Manifest(whole.run).content["overrides"]
    work, full = table
    (tmp_path / "part").mkdir()
    shutil.copytree(whole.run, tmp_path / "part" / "method")
    rows = {"until": "refine", "extras": ["random"], "beside": {"whole": work}}
    part = accuracy(whole.data, whole.bundle, tmp_path / "part", (), settings, "cpu", **rows)
    assert part["base"] == "class maps + CRF"
    own = ["all background", "brightest blob", "position prior", RANDOM, *REFINED]
    assert list(part["rows"]) == [*own, *(f"{name} (whole)" for name in (METHOD, FEW_SHOT, CEILING))]
    for name in own:
        assert part["rows"][name]["patients"] == full["rows"][name]["patients"]
    assert part["rows"][f"{METHOD} (whole)"]["patients"] == full["rows"][METHOD]["patients"]
    assert part["rows"]["class maps + CRF"]["classification"]["auc"] is not None


@pytest.fixture(scope="module")
def grown(whole, tmp_path_factory):
    """The same run with seeds that grow, up to the first network: its work folder and its table."""
    work = tmp_path_factory.mktemp("grown")
    settings = Manifest(whole.run).content["overrides"] | {"supervision": "dsrg", "dsrg_epochs": 1}
    found = accuracy(whole.data, whole.bundle, work, (), settings, "cpu", "dsrg", from_run=whole.run)
    return work, json.loads(json.dumps(found, allow_nan=False))


def test_dsrg_before_its_retraining(whole, grown, files_of):
    """Its own network's masks, with the classifier's probabilities, beside the steps before it."""
    work, found = grown
    assert list(found["rows"]) == ["all background", "brightest blob", "position prior", *REFINED, DSRG]
    assert found["base"] == DSRG and found["rows"][DSRG]["classification"]["auc"] is not None
    assert torch.equal(*(weights(file)["bias"] for file in (work / "dsrg/segmenter", work / "method/dsrg")))
    assert json.loads((work / STEPS_FILE).read_text())[DSRG] == "dsrg/predictions"


def weights(folder):
    state = torch.load(folder / "model.pt", weights_only=True)
    return {"bias": next(value for name, value in state.items() if name.endswith("bias"))}


def test_stages_of_another_run_are_not_run_again(whole, grown):
    records, before = (Manifest(run).content["stages"] for run in (grown[0] / "method", whole.run))
    assert list(records) == ["classify", "seed", "refine", "dsrg"]
    assert all(records[name] == before[name] for name in ("classify", "seed", "refine"))
    assert set(grown[1]["minutes"]) == set(records)


def test_the_curve_of_a_run_that_stopped_before_evaluate(grown):
    """Without a case's name, as what is committed must be."""
    curve = grown[1]["label_quality"]
    assert [row["epoch"] for row in curve["epochs"]] == [0, 1] and curve["cases"] and curve["skipped"] == 0
    assert "boundary_quality" not in grown[1] and "| epoch | labelled |" in format_table(grown[1])


def test_a_folder_without_a_table_is_refused_before_anything_runs(whole, tmp_path):
    with pytest.raises(InputError, match="no rows of such a table; run `python -m benchmarks accuracy"):
        accuracy(whole.data, whole.bundle, tmp_path / "work", beside={"x": tmp_path})
    assert not (tmp_path / "work").exists()


def test_folders_by_name():
    assert named_folders(["no growing=a/b", "c/d"]) == {"no growing": Path("a/b"), "d": Path("c/d")}
    with pytest.raises(InputError, match="a second folder called b"):
        named_folders(["b=a", "c/b"])


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"until": "walk"}, "no such stage"),
        ({"until": "seed", "extras": ["ceiling"]}, "needs the stage infer"),
        ({"extras": ["oracle"]}, "no such row"),
    ],
)
def test_rows_that_cannot_be_are_refused_before_anything_runs(whole, tmp_path, options, match):
    with pytest.raises(InputError, match=match):
        accuracy(whole.data, whole.bundle, tmp_path / "work", **options)
    assert not (tmp_path / "work").exists()


@pytest.mark.parametrize(
    ("split", "extras", "match"),
    [
        ("test", ["ungated"], "1 of 2 test cases have no true mask; prepare with --masks"),
        ("training", None, r"1 of 9 cases have no true mask, which the row ceiling learns from; .*\(--row\)"),
        ("training", {"folds": 2}, "1 of 9 cases have no true mask, and each tests in a fold; --folds 1"),
    ],
)
def test_a_missing_true_mask_is_refused_where_it_is_needed(whole, tmp_path, split, extras, match):
    dataset = PreparedDataset.read(whole.data)
    first, *others = dataset.cases(split)
    replace(dataset, **{split: (replace(first, truth=None), *others)}).write(tmp_path / "data")
    with pytest.raises(InputError, match=match):
        options = extras if isinstance(extras, dict) else {"extras": extras}
        accuracy(tmp_path / "data", whole.bundle, tmp_path / "work", **({"extras": []} | options))
    assert not (tmp_path / "work").exists()


@pytest.fixture(scope="module")
def three_classes(tmp_path_factory, write_films, run_films):
    """Table of films of three classes, and the folder that it worked in."""
    root = tmp_path_factory.mktemp("three")
    study = write_films(root / "study", {"train": 8, "val": 4, "test": 4}, ("air", "fluid", "nodule"))
    settings = {"classify_epochs": 2, "train_epochs": 1, "irnet_epochs": 1}
    run_films(study, root, settings)
    (root / "work").mkdir()
    (root / "run").rename(root / "work" / "method")
    settings = Manifest(root / "work" / "method").content["overrides"]
    places = root / "data", FILM_BUNDLE, root / "work", (), settings, "cpu"
    return root, accuracy(*places, extras=["ungated", "ceiling", "random"])


def test_rows_of_several_classes(three_classes):
    """No row that is made for one class; each score of a row is that of its own masks."""
    root, found = three_classes
    prior = ["all background", "position prior"]
    assert list(found["rows"]) == [*prior, RANDOM, *WALKED, METHOD, UNGATED, CEILING]
    assert "The brightest blob is left out" in found["protocol"]
    truths = {case.case: labels_of(case.truth) for case in PreparedDataset.read(root / "data").test}
    folders = {"all background": "rows/all_background", "+ IRNet": "rows/+_IRNet", METHOD: "method/predictions"}
    for name, folder in folders.items():
        masks = {case: labels_of(root / "work" / folder / f"{case}.nii.gz") for case in truths}
        true, mask = (np.concatenate([of[case] for case in truths]) for of in (truths, masks))
        iou = [((true == k) & (mask == k)).sum() / ((true == k) | (mask == k)).sum() for k in range(4)]
        assert found["rows"][name]["dataset"]["miou"] == pytest.approx(np.mean(iou)), name
        assert mask.any() or name != "+ IRNet"


def labels_of(path):
    return np.asarray(nib.load(path).dataobj).ravel()


def test_the_table_of_several_classes_prints_and_is_small(three_classes):
    found = json.loads(json.dumps(three_classes[1], allow_nan=False))
    lines = format_table(found).splitlines()
    assert lines[0].endswith("| clean negative slices | data-set mIoU | pixel accuracy |")
    miou = found["rows"]["+ IRNet"]["dataset"]["miou"]
    (row,) = [line for line in lines if line.startswith("| + IRNet")]
    assert row.split("|")[-3].strip() == f"{miou:.3f}"
    assert "(paper)" not in lines[0] and any("means over 3 classes" in line for line in lines)
    assert found["boundary_quality"]["splits"]["test"]["cases"] == 4
    assert found["rows"][METHOD]["classes"]["fluid"].keys() == {"iou", "dice"}


def test_the_ceiling_learns_each_true_label(three_classes):
    root, _ = three_classes
    case = next(c for c in PreparedDataset.read(root / "data").training if sum(c.classes) > 1)
    learnt = np.load(root / "work" / "supervised" / "pseudo_masks" / "refined" / f"{case.case}.npy")
    values = {k + 1 for k, present in enumerate(case.classes) if present}
    assert set(np.unique(learnt)) == {0, *values} and learnt.shape == (1, 32, 32)
