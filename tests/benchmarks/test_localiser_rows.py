"""The table of a bundle whose localisers make the masks, on tiny films."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

from benchmarks.accuracy import accuracy
from benchmarks.pictures import case_pictures
from benchmarks.rows.cells import STEPS_FILE
from benchmarks.rows.localisers import (
    LOCALISERS,
    is_localiser,
    localiser_masks,
    localiser_of,
    random_localiser,
    trained_localisers,
    write_prior_masks,
)
from benchmarks.rows.row_names import METHOD, RANDOM, SHUFFLED, UNGATED
from benchmarks.rows.run_parts import preprocessing_of
from benchmarks.tables.rebuild import format_table
from monai_wsss.data import PreparedDataset, cache_folder
from monai_wsss.errors import InputError
from monai_wsss.networks import TiedDeconvNet
from monai_wsss.workflow.truth_on_grid import truth_on_grid

TRIVIAL = ["all background", "brightest blob", "position prior"]
STAGES = ["localiser, baseline", "deconv 1", "deconv 2"]
FINAL = LOCALISERS["train"]


@pytest.fixture(scope="module")
def table(whole_deconv, tmp_path_factory):
    """The method's run is already there; predictions of the earlier stages and the shuffled run are made."""
    work = tmp_path_factory.mktemp("localisers")
    shutil.copytree(whole_deconv.run, work / "method")
    settings = whole_deconv.settings
    rows = ["shuffled", "random", "ungated"]
    return work, accuracy(whole_deconv.data, whole_deconv.bundle, work, overrides=settings, device="cpu", extras=rows)


def test_which_bundles_localise(whole_deconv, whole):
    assert is_localiser(whole_deconv.bundle) and is_localiser(whole_deconv.run / "bundle")
    assert not is_localiser(whole.bundle)
    assert [one.row for one in trained_localisers(["classify", "baseline", "deconv1", "infer"])] == STAGES[:2]
    assert trained_localisers(["train", "infer", "evaluate"]) == [FINAL]


def test_all_rows(table):
    found = table[1]
    assert list(found["rows"]) == [*TRIVIAL, SHUFFLED, RANDOM, *STAGES, METHOD, UNGATED]
    assert found["base"] == METHOD and "mask_quality" not in found
    assert {"baseline", "deconv1", "deconv2", "train", "shuffled train"} < found["minutes"].keys()
    steps = {name: name.replace(" ", "") for name in STAGES[1:]} | {STAGES[0]: "baseline"}
    expected = {name: f"{folder}/predictions" for name, folder in steps.items()} | {METHOD: "method/predictions"}
    assert json.loads((table[0] / STEPS_FILE).read_text()) == expected


@pytest.mark.parametrize(("stage", "deconvs"), [("baseline", 0), ("deconv1", 1), ("deconv2", 2)])
def test_a_stage_predicts_with_its_own_weights_and_threshold(table, whole_deconv, stage, deconvs):
    """Masks by the network itself, in the 28 of 32 columns that the film has; the way back may move a rim."""
    work, run = table[0], whole_deconv.run
    network = TiedDeconvNet(deconv_stages=deconvs, width=whole_deconv.settings["network_width"]).eval()
    network.load_state_dict(torch.load(run / stage / "model.pt", weights_only=True))
    preprocess = preprocessing_of(run)
    dataset = PreparedDataset.read(whole_deconv.data)
    cache = cache_folder(whole_deconv.data, preprocess.parameters)
    agreed, found = [], 0
    for case in dataset.test:
        film = torch.from_numpy(np.load(cache / f"{case.case}.npy"))
        with torch.no_grad():
            own = network(film)[:, 0] > 0
            seen = network.image_logits(network.maps(film))[0, 0] >= 0  # probability 0.5
        written = truth_on_grid(
            replace(case, truth=work / stage / "predictions" / f"{case.case}.nii.gz"), preprocess, 1
        )
        own = (own & seen)[:, 2:30]
        agreed.append(float((own.numpy() == (written[:, 2:30] > 0)).mean()))
        found += int(own.sum())
    assert np.mean(agreed) > 0.95 and found > 20


def test_other_localisers_are_gated_by_the_methods(table, whole_deconv):
    run, data = whole_deconv.run, whole_deconv.data
    method, other = (localiser_of(run, LOCALISERS[stage]) for stage in ("train", "baseline"))
    makers = [localiser_masks(run, network, data, "cpu") for network in (method, other)]
    dataset = PreparedDataset.read(data)
    cache = cache_folder(data, preprocessing_of(run).parameters)
    answers, gates = [], []
    for case in dataset.test:
        film = torch.from_numpy(np.load(cache / f"{case.case}.npy"))
        with torch.no_grad():
            seen = bool(method.image_logits(method.maps(film)) >= 0)
            expected = (other(film)[:, 0] > 0) & seen
        own, gated = (maker(case) for maker in makers)
        assert own.shape == gated.shape == (1, 32, 32) and own.dtype == torch.uint8
        assert torch.equal(gated.bool(), expected) and (seen or not own.any())
        answers.append(bool(own.any()))
        gates.append(seen)
    assert any(answers) and not all(gates)


def test_the_priors_masks_follow_the_labels(whole_deconv, tmp_path):
    folder = write_prior_masks(whole_deconv.run, FINAL, whole_deconv.data, tmp_path / "prior", "cpu")
    training = PreparedDataset.read(whole_deconv.data).training
    masks = {case.case: np.load(folder / f"{case.case}.npy") for case in training}
    assert {path.stem for path in folder.iterdir()} == set(masks)
    assert not any(masks[case.case].any() for case in training if case.classes == (0,))
    assert any(mask.any() for mask in masks.values())
    assert {mask.shape for mask in masks.values()} == {(1, 32, 32)}


def test_a_random_localiser_has_thresholds_by_the_runs_rule(whole_deconv):
    """A hundredth of the pixels of negative validation films lies above it, as `threshold_quantile` says."""
    one, again, other = (random_localiser(whole_deconv.run, whole_deconv.data, seed, "cpu") for seed in (0, 0, 1))
    trained = localiser_of(whole_deconv.run, FINAL)
    weights = [network.map_conv.weight for network in (one, again, other, trained)]
    assert torch.equal(weights[0], weights[1]) and torch.equal(one.threshold, again.threshold)
    assert not any(torch.equal(weights[0], weight) for weight in weights[2:])
    cache = cache_folder(whole_deconv.data, preprocessing_of(whole_deconv.run).parameters)
    negatives = [case for case in PreparedDataset.read(whole_deconv.data).validation if case.classes == (0,)]
    films = torch.from_numpy(np.concatenate([np.load(cache / f"{case.case}.npy") for case in negatives]))
    with torch.no_grad():
        maps = one.lesion_maps(films)
    assert float(one.threshold) == pytest.approx(float(torch.quantile(maps.flatten(), 0.99)), rel=1e-4)


def test_untied_stages_beside_the_tied_ones(table, whole_deconv, tmp_path):
    """Without a deconvolution there is nothing to tie, so that the baseline comes out the same and stands once."""
    settings = whole_deconv.settings | {"tied": False}
    options = {"until": "deconv1", "beside": {"tied": table[0]}, "from_run": whole_deconv.run}
    found = accuracy(whole_deconv.data, whole_deconv.bundle, tmp_path / "work", (), settings, "cpu", **options)
    rows = list(found["rows"])
    assert rows[:5] == [*TRIVIAL, *STAGES[:2]] and found["base"] == "deconv 1"
    assert "localiser, baseline (tied)" not in rows
    assert {"deconv 2 (tied)", f"{METHOD} (tied)"} <= set(rows)
    baselines = [
        torch.load(run / "baseline" / "model.pt", weights_only=True)
        for run in (whole_deconv.run, tmp_path / "work" / "method")
    ]
    assert all(torch.equal(value, baselines[1][name]) for name, value in baselines[0].items())


def test_rows_that_cannot_be_are_refused(whole_deconv, tmp_path):
    place = whole_deconv.data, whole_deconv.bundle, tmp_path / "work"
    with pytest.raises(InputError, match="no such row; choose among ungated, few-shot, ceiling, shuffled, random"):
        accuracy(*place, extras=["oracle"])
    with pytest.raises(InputError, match="random: needs the stage train, which comes after --until deconv2"):
        accuracy(*place, until="deconv2", extras=["random"])
    assert not (tmp_path / "work").exists()


def test_the_table_prints(table):
    text = format_table(json.loads(json.dumps(table[1], allow_nan=False)))
    assert "| localiser, baseline |" in text and "A map's threshold is its 0.99 quantile" in text
    assert "(paper)" not in text


def test_pictures_show_every_stage(table, whole_deconv, tmp_path):
    from PIL import Image

    case_pictures(whole_deconv.data, table[0], tmp_path / "cases.png", count=2)
    width, height = Image.open(tmp_path / "cases.png").size
    assert width == 2 * 2 * 32  # two films, twice as large
    assert height == 6 * (2 * 32 + 14)  # image, four stages, true mask, each with a title
