import csv
import json

import nibabel as nib
import numpy as np
import pytest

from benchmarks.bags import bag_bounds, write_bags
from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing

AFFINE = np.array([[-2.0, 0, 0, 5], [0, -2, 0, 6], [0, 0, 4, 7], [0, 0, 0, 1]])
DEPTH = 7
# slices of each patient with the finding; bags of 3 are slices 0-2, 3-5 and what is left, slice 6, which joins the last
TUMOUR = {"A": {2}, "B": {3, 6}, "C": set(), "D": {0, 1, 2, 3, 4, 5, 6}}
SPLIT = {"train": ["A", "C"], "val": ["B"], "test": ["D"]}


@pytest.fixture
def source(tmp_path):
    """Volumes whose voxels tell patient and slice, masks of one voxel, slice labels and the split."""
    rng, rows = np.random.default_rng(0), []
    for number, (patient, found) in enumerate(TUMOUR.items()):
        image = rng.integers(50, 99, (6, 5, DEPTH)).astype(np.uint8)
        image[0, 0] = 100 + 10 * number + np.arange(DEPTH)
        mask = np.zeros((6, 5, DEPTH), np.uint8)
        mask[2, 3, sorted(found)] = 1
        for name, array in (("images", image), ("masks", mask)):
            (tmp_path / name).mkdir(exist_ok=True)
            nib.save(nib.Nifti1Image(array, AFFINE), tmp_path / name / f"{patient}.nii.gz")
        rows += [[patient, index, int(index in found)] for index in range(DEPTH)]
    write_table(tmp_path / "slices.csv", [["PatientID", "slice", "tumor"], *rows])
    (tmp_path / "split.json").write_text(json.dumps(SPLIT))
    return tmp_path


def write_table(path, rows):
    with path.open("w", newline="") as stream:
        csv.writer(stream).writerows(rows)


def cut(source, slices=3, out="bags"):
    place = source / "slices.csv", source / "masks", source / "split.json", source / out
    return write_bags(source / "images", *place, slices)


def read(path):
    return list(csv.reader(path.open(newline="")))


@pytest.mark.parametrize(
    ("depth", "slices", "bounds"),
    [
        (6, 3, [(0, 3), (3, 6)]),
        (7, 3, [(0, 3), (3, 7)]),  # one slice left: less than half of 3
        (8, 3, [(0, 3), (3, 6), (6, 8)]),
        (20, 8, [(0, 8), (8, 16), (16, 20)]),  # exactly half
        (19, 8, [(0, 8), (8, 19)]),
        (2, 8, [(0, 2)]),
    ],
)
def test_bounds(depth, slices, bounds):
    assert bag_bounds(depth, slices) == bounds


def test_a_bag_is_positive_by_any_of_its_slices(source):
    assert cut(source) == {"patients": 4, "bags": 8, "positive": {"tumor": 4}}
    assert read(source / "bags" / "labels.csv") == [
        ["file", "PatientID", "split", "tumor"],
        ["A_000.nii.gz", "A", "train", "1"],
        ["A_001.nii.gz", "A", "train", "0"],
        ["C_000.nii.gz", "C", "train", "0"],
        ["C_001.nii.gz", "C", "train", "0"],
        ["B_000.nii.gz", "B", "val", "0"],
        ["B_001.nii.gz", "B", "val", "1"],
        ["D_000.nii.gz", "D", "test", "1"],
        ["D_001.nii.gz", "D", "test", "1"],
    ]
    slices = read(source / "bags" / "slice_labels.csv")
    assert [row[3:] for row in slices if row[0] == "B_001.nii.gz"] == [["0", "1"], ["1", "0"], ["2", "0"], ["3", "1"]]


def test_a_doubtful_slice_leaves_a_bag_unknown_unless_another_has_the_finding(source):
    rows = [[*row[:2], "?" if row[:2] in (["A", "0"], ["C", "5"]) else row[2]] for row in read(source / "slices.csv")]
    write_table(source / "slices.csv", rows)
    cut(source)
    labels = {row[0]: row[3] for row in read(source / "bags" / "labels.csv")}
    assert (labels["A_000.nii.gz"], labels["C_001.nii.gz"], labels["C_000.nii.gz"]) == ("1", "", "0")


def test_images_and_masks_are_those_slices_where_they_were(source):
    cut(source)
    for folder in ("images", "masks"):
        whole, part = (nib.load(source / name) for name in (f"{folder}/B.nii.gz", f"bags/{folder}/B_001.nii.gz"))
        assert np.array_equal(np.asarray(part.dataobj), np.asarray(whole.dataobj)[..., 3:7])
        assert part.get_data_dtype() == np.uint8
        # its first slice is the volume's fourth: 3 x 4 mm further on
        assert np.allclose(part.affine, AFFINE + np.array([[0] * 4, [0] * 4, [0, 0, 0, 12], [0] * 4]))


def test_prepared_bags_have_one_label_or_those_of_their_slices(source):
    from monai_wsss.workflow.prepare import prepare

    cut(source)
    bags, grid = source / "bags", GridPreprocessing(pixel_spacing=None, size=(8, 8))
    found = {}
    for table in ("labels", "slice_labels"):
        labels, out = bags / f"{table}.csv", source / table
        prepare(bags / "images", labels, out, masks=bags / "masks", keep_names=True, preprocessing=grid)
        found[table] = {case.case: case for case in PreparedDataset.read(out).cases()}
    studies, sliced = found["labels"], found["slice_labels"]
    assert all(case.slice_classes is None and case.truth is not None for case in studies.values())
    assert studies.keys() == sliced.keys() and len(studies) == 8
    assert {name: case.classes for name, case in studies.items()} == {n: case.classes for n, case in sliced.items()}
    assert sliced["B_001"].slice_classes == ((1,), (0,), (0,), (1,)) and sliced["B_001"].patient == "B"
    assert {c.case for c in PreparedDataset.read(source / "labels").validation} == {"B_000", "B_001"}


def break_split(source):
    (source / "split.json").write_text('{"train": ["A"]}')


def break_rows(source):
    write_table(source / "slices.csv", [row for row in read(source / "slices.csv") if row[:2] != ["B", "4"]])


def break_columns(source):
    write_table(source / "slices.csv", [[row[0], row[2]] for row in read(source / "slices.csv")])


def break_mask(source):
    nib.save(nib.Nifti1Image(np.zeros((6, 5, 2), np.uint8), AFFINE), source / "masks" / "B.nii.gz")


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda source: (source / "masks" / "C.nii.gz").unlink(), "masks: no C.nii.gz"),
        (break_split, "train, val and test"),
        (break_rows, "no row for slice 4 of B"),
        (break_columns, "needs a column slice"),
        (break_mask, r"B.nii.gz: has shape \(6, 5, 2\)"),
        (lambda source: (source / "bags").mkdir(), "is there already"),
    ],
)
def test_what_cannot_be_cut_is_refused(source, change, match):
    change(source)
    with pytest.raises(InputError, match=match):
        cut(source)


def test_a_slice_is_no_bag(source):
    with pytest.raises(ValueError, match="got 1"):
        cut(source, slices=1)
