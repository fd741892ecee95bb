"""Inference on any volumes, good and bad ones together."""

import csv
import shutil

import nibabel as nib
import numpy as np
import pytest

from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow.infer_command import infer

# Third axis left-right, turned by 20 degrees about the first, with an origin: nothing is a multiple of anything.
TURN = np.deg2rad(20)
SAGITTAL = np.array(
    [
        [0.0, 0.0, 5.0, -31.7],
        [-4.1 * np.cos(TURN), 3.9 * np.sin(TURN), 0.0, 12.3],
        [4.1 * np.sin(TURN), 3.9 * np.cos(TURN), 0.0, -7.9],
        [0.0, 0.0, 0.0, 1.0],
    ]
)


def head(shape, seed=0):
    volume = np.zeros(shape, np.float32)
    volume[3:-3, 4:-4] = np.random.default_rng(seed).uniform(80, 120, volume[3:-3, 4:-4].shape)
    volume[8:14, 8:14] += 100
    return volume


def table(path):
    with path.open() as stream:
        return list(csv.DictReader(stream))


@pytest.fixture(scope="module")
def mixed(whole, write_volume, tmp_path_factory):
    """Volumes of all kinds, and what inference made of them; every slice passes the classifier's gate."""
    root = tmp_path_factory.mktemp("mixed")
    run = shutil.copytree(whole.run, root / "run")
    path = run / "bundle" / "configs" / "inference.yaml"
    text = path.read_text()
    path.write_text(text.replace("infer_gate_probability: 0.5", "infer_gate_probability: 0.0"))
    assert path.read_text() != text
    volumes = root / "in"
    write_volume(volumes / "a_good.nii.gz", head((28, 32, 4)))
    write_volume(volumes / "one_slice.nii.gz", head((28, 32, 1)))
    write_volume(volumes / "flat2d.nii", head((28, 32)))
    write_volume(volumes / "deep" / "sagittal.nii.gz", head((30, 26, 5)), SAGITTAL)
    good = (volumes / "a_good.nii.gz").read_bytes()
    (volumes / "b_truncated.nii.gz").write_bytes(good[: len(good) // 2])
    (volumes / "c_text.nii").write_text("this is no volume")
    write_volume(volumes / "d_nan.nii.gz", np.where(head((28, 32, 4)) > 190, np.nan, 1).astype(np.float32))
    seen = []
    counts = infer(run, volumes, root / "out", "cpu", lambda done, total: seen.append((done, total)))
    return root, counts, seen


GOOD = {
    "a_good": "a_good.nii.gz",
    "one_slice": "one_slice.nii.gz",
    "flat2d": "flat2d.nii",
    "sagittal": "deep/sagittal.nii.gz",
}


def test_good_ones_are_done_and_bad_ones_listed(mixed):
    root, counts, seen = mixed
    assert counts == {"cases": 4, "skipped": 3}
    assert {path.name for path in (root / "out").glob("*.nii.gz")} == {f"{case}.nii.gz" for case in GOOD}
    rows = {row["file"].rsplit("/", 1)[1]: row["reason"] for row in table(root / "out" / "skipped.csv")}
    assert set(rows) == {"b_truncated.nii.gz", "c_text.nii", "d_nan.nii.gz"}
    assert all(reason and "\n" not in reason for reason in rows.values())
    assert "finite" in rows["d_nan.nii.gz"]
    assert [total for _, total in seen] == [7] * 4 and seen[-1][0] <= 7


@pytest.mark.parametrize("case", GOOD)
def test_masks_lie_where_their_source_lies(mixed, case):
    root, *_ = mixed
    source, mask = nib.load(root / "in" / GOOD[case]), nib.load(root / "out" / f"{case}.nii.gz")
    assert mask.shape == source.shape and mask.get_data_dtype() == np.uint8
    assert np.array_equal(mask.affine, source.affine)
    assert np.isin(np.asarray(mask.dataobj), (0, 1)).all()
    for form in ("sform_code", "qform_code"):
        assert int(mask.header[form]) == int(source.header[form])


def test_statistics_are_those_of_the_masks(mixed):
    root, *_ = mixed
    rows = {row["case"]: row for row in table(root / "out" / "statistics.csv")}
    slices = table(root / "out" / "slices.csv")
    assert set(rows) == set(GOOD)
    for case, row in rows.items():
        mask = nib.load(root / "out" / f"{case}.nii.gz")
        array = np.asarray(mask.dataobj).reshape(*mask.shape[:2], -1)
        assert int(row["voxels"]) == (array == 1).sum()
        ml = (array == 1).sum() * abs(np.linalg.det(mask.affine[:3, :3])) / 1000
        assert float(row["ml"]) == pytest.approx(ml, abs=6e-4)
        own = [r for r in slices if r["case"] == case]
        assert [int(r["slice"]) for r in own] == list(range(array.shape[2]))
        assert [int(r["voxels"]) for r in own] == (array == 1).sum(axis=(0, 1)).tolist()
        assert max(float(r["probability"]) for r in own) == pytest.approx(float(row["probability"]))
        assert all(0 <= float(r["probability"]) <= 1 for r in own)
    assert sum(int(row["voxels"]) for row in rows.values()) > 0  # else the test says nothing


def test_a_mask_does_not_depend_on_the_volumes_beside_it(mixed):
    root, *_ = mixed
    infer(root / "run", root / "in" / "deep" / "sagittal.nii.gz", root / "alone", "cpu")
    alone, together = (nib.load(root / name / "sagittal.nii.gz") for name in ("alone", "out"))
    assert np.array_equal(np.asarray(alone.dataobj), np.asarray(together.dataobj))
    assert [row["case"] for row in table(root / "alone" / "statistics.csv")] == ["sagittal"]


def test_a_prepared_folder_gives_its_test_split_as_the_pipeline_does(whole, tmp_path, files_of):
    assert infer(whole.run, whole.data, tmp_path / "out", "cpu") == {"cases": 2, "skipped": 0}
    expected = files_of(whole.run / "predictions")
    assert {"HOSP007.nii.gz", "HOSP008.nii.gz"} < set(expected)
    for name, content in files_of(tmp_path / "out").items():
        if name.endswith(".csv"):
            assert content == expected[name]
        else:
            one, two = (nib.load(folder / name) for folder in (tmp_path / "out", whole.run / "predictions"))
            assert np.array_equal(np.asarray(one.dataobj), np.asarray(two.dataobj))
    assert {case.case for case in PreparedDataset.read(whole.data).test} == {"HOSP007", "HOSP008"}


def test_a_closed_gate_leaves_nothing(whole, mixed, tmp_path):
    root, *_ = mixed
    run = shutil.copytree(root / "run", tmp_path / "run")
    path = run / "bundle" / "configs" / "inference.yaml"
    path.write_text(path.read_text().replace("infer_gate_probability: 0.0", "infer_gate_probability: 1.1"))
    infer(run, root / "in" / "a_good.nii.gz", tmp_path / "out", "cpu")
    (row,) = table(tmp_path / "out" / "statistics.csv")
    assert (row["voxels"], row["components"], row["ml"]) == ("0", "0", "0.000") and row["probability"]


def test_only_bad_volumes_give_empty_tables(whole, tmp_path):
    (tmp_path / "in").mkdir()
    for name in ("x.nii", "y.nii.gz"):
        (tmp_path / "in" / name).write_bytes(b"nothing")
    assert infer(whole.run, tmp_path / "in", tmp_path / "out", "cpu") == {"cases": 0, "skipped": 2}
    assert len(table(tmp_path / "out" / "skipped.csv")) == 2 and table(tmp_path / "out" / "statistics.csv") == []


@pytest.mark.parametrize("wrong", ["source", "volumes", "empty", "weights"])
def test_what_is_not_there_is_said_in_one_line(whole, tmp_path, wrong):
    source, volumes = whole.run, whole.study / "images"
    if wrong == "source":
        source, message = tmp_path, "neither a run folder nor a bundle"
    elif wrong == "volumes":
        volumes, message = tmp_path / "none", "no such file or folder"
    elif wrong == "empty":
        (tmp_path / "empty").mkdir()
        volumes, message = tmp_path / "empty", "no NIfTI file"
    else:
        source, message = shutil.copytree(whole.run, tmp_path / "run"), "no such weights; train first"
        (source / "segmenter" / "model.pt").unlink()
    with pytest.raises((InputError, RuntimeError)) as raised:
        infer(source, volumes, tmp_path / "out", "cpu")
    from monai_wsss.data import input_error

    assert message in str(input_error(raised.value))
