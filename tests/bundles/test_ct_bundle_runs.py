"""The CT bundle: Hounsfield windows, labels of whole studies, pictures without Hounsfield units."""

import csv

import numpy as np
import pytest
import torch
from head_ct_files import write_head_ct
from monai.bundle import ConfigParser
from monai.transforms import RandAffined
from tiny_bundles import CT_BUNDLE, SETTINGS

from monai_wsss.data import PreparedDataset, cache_folder
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.export import export_bundle
from monai_wsss.workflow.infer_command import infer
from monai_wsss.workflow.prepare_formats import prepare_format

WINDOWS = [[40.0, 80.0], [80.0, 200.0], [600.0, 2800.0]]


def seeds(run, case):
    return np.load(run / "seeds" / f"{case.case}.npy").max((1, 2, 3))


def test_all_stages_ran_on_studies_with_one_label_each(whole_ct):
    assert {record["status"] for record in whole_ct.records.values()} == {"done"}
    dataset = PreparedDataset.read(whole_ct.data)
    assert all(case.slice_classes is None for case in dataset.cases())
    assert whole_ct.records["classify"]["summary"]["val_auc"] >= 0  # of studies


def test_an_ill_study_has_a_seed_and_a_healthy_one_has_none(whole_ct):
    dataset = PreparedDataset.read(whole_ct.data)
    for case in dataset.cases("training") + dataset.cases("validation"):
        assert (seeds(whole_ct.run, case) > 0).any() == bool(case.classes[0]), case.case


def test_the_cache_holds_three_windows(whole_ct):
    parameters = GridPreprocessing(pixel_spacing=4.0, size=[32, 32], windows=WINDOWS).parameters
    folder = cache_folder(whole_ct.data, parameters)
    case = PreparedDataset.read(whole_ct.data).cases()[0]
    assert np.load(folder / f"{case.case}.npy").shape == (4, 3, 32, 32)


def test_exported_bundle_reads_hounsfield_units(whole_ct, tmp_path):
    bundle = export_bundle(whole_ct.run, tmp_path / "bundle")
    case = PreparedDataset.read(whole_ct.data).cases("test")[0]
    counts = infer(bundle, case.image, tmp_path / "out", "cpu", keep_names=True)
    assert counts["cases"] == 1 and counts["skipped"] == 0


@pytest.mark.parametrize("pooling", ["attention", "none"])
def test_other_poolings_run(pooling, whole_ct, run_bundle, tmp_path):
    settings = SETTINGS | {"bag_pooling": pooling, "bag_slices": 2, "bag_batch_size": 2, "classify_epochs": 1}
    records = run_bundle(CT_BUNDLE, whole_ct.data, tmp_path / "run", settings, until_stage="seed")
    assert records["seed"]["status"] == "done"


def test_one_window_is_one_channel(whole_ct, run_bundle, tmp_path):
    settings = SETTINGS | {"windows": [[40.0, 80.0]], "classify_epochs": 1}
    run_bundle(CT_BUNDLE, whole_ct.data, tmp_path / "run", settings, until_stage="classify")
    weights = torch.load(tmp_path / "run" / "classifier" / "model.pt", weights_only=True)
    assert next(value for value in weights.values() if value.ndim == 4).shape[1] == 1


def test_labels_of_slices_and_of_studies_may_stand_side_by_side(whole_ct, prepare_study, run_bundle, tmp_path):
    """A third of the studies has a row a slice."""
    (tmp_path / "study").mkdir()
    for name in ("images", "masks"):
        (tmp_path / "study" / name).symlink_to(whole_ct.study / name)
    with (whole_ct.study / "labels.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    lines = []
    for number, row in enumerate(rows):
        for index in range(4) if number % 3 == 0 else ("",):
            here = int(row["haemorrhage"]) and index in (1, 2, "")
            lines.append([row["PatientID"], row["split"], index, int(here)])
    with (tmp_path / "study" / "labels.csv").open("w", newline="") as stream:
        csv.writer(stream).writerows([["PatientID", "split", "slice", "haemorrhage"], *lines])
    data = prepare_study(tmp_path / "study", tmp_path / "data")
    kinds = {case.slice_classes is None for case in PreparedDataset.read(data).training}
    assert kinds == {True, False}
    records = run_bundle(CT_BUNDLE, data, tmp_path / "run", SETTINGS | {"threshold": 0.3})
    assert {record["status"] for record in records.values()} == {"done"}
    for case in PreparedDataset.read(data).training:
        found = seeds(tmp_path / "run", case) > 0
        if case.slice_classes is not None:  # a slice's own label decides
            assert found.tolist() == [bool(row[0]) for row in case.slice_classes]


def test_pictures_are_refused_without_their_overlay_and_run_with_it(run_bundle, tmp_path):
    write_head_ct(tmp_path / "source")
    prepare_format("head-ct", tmp_path / "source", None, tmp_path / "data", keep_names=True, split=[0.5, 0.25, 0.25])
    tiny = {key: value for key, value in SETTINGS.items() if key != "pixel_spacing"} | {"threshold": 0.3}
    with pytest.raises(InputError, match="pictures") as raised:
        run_bundle(CT_BUNDLE, tmp_path / "data", tmp_path / "refused", tiny, until_stage="classify")
    assert "\n" not in str(raised.value)
    records = run_bundle(
        CT_BUNDLE, tmp_path / "data", tmp_path / "run", tiny, overlays=["pictures"], until_stage="infer"
    )
    assert {record["status"] for record in records.values()} == {"done"}


@pytest.mark.parametrize(("side", "pixels"), [(256, 12), (128, 6), (64, 3)])
@pytest.mark.parametrize(("stage", "augmentation"), [("classify", "augmentation"), ("dsrg", "dsrg_augmentation")])
def test_shifts_follow_the_size_of_the_image(stage, augmentation, side, pixels):
    parser = ConfigParser()
    parser.read_config(CT_BUNDLE / "configs" / f"{stage}.yaml")
    parser["size"] = [side, side]
    (affine,) = (t for t in parser.get_parsed_content(augmentation).transforms if isinstance(t, RandAffined))
    assert affine.rand_affine.rand_affine_grid.translate_range == (pixels, pixels)
