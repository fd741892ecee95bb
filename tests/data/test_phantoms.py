from collections import Counter
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage
from skimage.filters import threshold_otsu
from sklearn.metrics import roc_auc_score

from monai_wsss.data.phantoms import write_phantoms
from monai_wsss.data.phantoms.write import splits

PATIENTS = 10
PERCENTILES = np.arange(50, 99.6, 2.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phantoms(tmp_path_factory.mktemp("phantoms"), patients=PATIENTS)


@pytest.fixture(scope="module")
def table(folder: Path) -> pd.DataFrame:
    return pd.read_csv(folder / "labels.csv")


@pytest.fixture(scope="module")
def volumes(folder: Path) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    names = [path.name for path in sorted((folder / "images").iterdir())]
    return {
        name.split(".")[0]: tuple(np.asarray(nib.load(folder / kind / name).dataobj) for kind in ("images", "masks"))
        for name in names
    }


def body(volume: np.ndarray) -> np.ndarray:
    """Filled largest component of each slice: the skull's dark ring and the ventricles are inside."""
    filled = [largest(ndimage.binary_fill_holes(s)) for s in np.moveaxis(volume > 0.6 * threshold_otsu(volume), -1, 0)]
    return np.stack(filled, -1)


def largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count else mask


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2 * np.sum(a & b) / (a.sum() + b.sum())


@pytest.mark.parametrize(
    ("patients", "expected"),
    [
        (40, {"train": 28, "val": 4, "test": 8}),
        (10, {"train": 7, "val": 1, "test": 2}),
        (3, {"train": 1, "val": 1, "test": 1}),  # no split is empty
    ],
)
def test_split_sizes(patients: int, expected: dict[str, int]) -> None:
    assert Counter(split for split, _ in splits(patients)) == expected


def test_table_agrees_with_masks(table: pd.DataFrame, volumes: dict) -> None:
    assert list(table.columns) == ["PatientID", "split", "slice", "lesion"]
    assert len(table) == PATIENTS * 10 and set(volumes) == set(table.PatientID)
    for row in table.itertuples():
        assert row.lesion == volumes[row.PatientID][1][..., row.slice].any()


def test_share_of_lesions(table: pd.DataFrame, volumes: dict) -> None:
    assert 0.35 <= table.lesion.mean() <= 0.45
    # numbers 2, 6, .. of a split are negative: here the third and the seventh of the seven training patients
    assert list(table.groupby("PatientID").lesion.max()) == [1, 1, 0, 1, 1, 1, 0, 1, 1, 1]
    areas = [area for _, mask in volumes.values() for area in mask.sum((0, 1)) if area]
    assert min(areas) >= 24 and 0.015 < np.mean(areas) / 96**2 < 0.035


def test_files_are_nifti_in_patient_space(folder: Path) -> None:
    for kind, dtype in (("images", np.int16), ("masks", np.uint8)):
        nifti = nib.load(folder / kind / "phantom_000.nii.gz")
        assert nifti.get_data_dtype() == dtype and nifti.shape == (96, 96, 10)
        assert nib.aff2axcodes(nifti.affine) == ("L", "P", "S")
        np.testing.assert_allclose(nifti.header.get_zooms(), (2.4, 2.4, 6.0), rtol=1e-6)
        # the world's origin is the volume's centre: voxel (47.5, 47.5, 4.5)
        np.testing.assert_allclose(nifti.affine @ [47.5, 47.5, 4.5, 1], [0, 0, 0, 1], atol=1e-4)


def test_same_seed_same_bytes(tmp_path: Path) -> None:
    def files(name: str, seed: int) -> dict[str, bytes]:
        out = write_phantoms(tmp_path / name, patients=3, size=32, slices=3, seed=seed)
        return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}

    first = files("first", 0)
    assert len(first) == 7  # 3 images, 3 masks, 1 table, nothing temporary
    assert files("again", 0) == first
    assert files("other", 1)["images/phantom_000.nii.gz"] != first["images/phantom_000.nii.gz"]


@pytest.mark.parametrize("blob", [False, True], ids=["all pixels", "largest blob"])
@pytest.mark.parametrize("smoothing", [0.0, 1.0], ids="smoothing {}".format)
def test_thresholding_fails(volumes: dict, blob: bool, smoothing: float) -> None:
    # The oracle picks each volume's best percentile of the body by the true mask, and still stays below .3.
    best = []
    for image, mask in volumes.values():
        positive = np.flatnonzero(mask.any((0, 1)))
        if not positive.size:
            continue
        inside, smooth = body(image), ndimage.gaussian_filter(image.astype(float), (smoothing, smoothing, 0))
        scores = []
        for level in np.percentile(smooth[inside], PERCENTILES):
            found = (smooth >= level) & inside
            slices = [largest(found[..., k]) if blob else found[..., k] for k in positive]
            scores.append(np.mean([dice(s, mask[..., k] > 0) for s, k in zip(slices, positive, strict=True)]))
        best.append(max(scores))
    assert len(best) == PATIENTS - 2
    assert np.mean(best) < 0.3


def test_brightness_does_not_tell_positive_slices(table: pd.DataFrame, volumes: dict) -> None:
    inside = {name: body(image) for name, (image, _) in volumes.items()}
    for percentile in (90, 99):
        score = []
        for row in table.itertuples():
            image = volumes[row.PatientID][0] / volumes[row.PatientID][0].mean()
            score.append(np.percentile(image[..., row.slice][inside[row.PatientID][..., row.slice]], percentile))
        assert 0.25 < roc_auc_score(table.lesion, score) < 0.75


def test_lesions_have_an_edge(volumes: dict) -> None:
    # Plateau .70 to .76 on white matter .39 and grey matter .47 to .53: 1.3 to 1.9 times; 1.2 leaves room.
    for image, mask in volumes.values():
        for k in np.flatnonzero(mask.any((0, 1))):
            lesion = mask[..., k] > 0
            ring = ndimage.binary_dilation(lesion, iterations=4) & ~ndimage.binary_dilation(lesion)
            assert np.median(image[..., k][lesion]) > 1.2 * np.median(image[..., k][ring])


def test_test_patients_come_from_another_scanner(table: pd.DataFrame, volumes: dict) -> None:
    noise: dict[str, list[float]] = {"train": [], "val": [], "test": []}
    for name, split in table.groupby("PatientID").split.first().items():
        image = volumes[name][0]
        noise[split].append(image[:8, :8].std() / np.median(image[body(image)]))  # air in the corner
    assert min(noise["test"]) > max(noise["train"] + noise["val"])


@pytest.mark.parametrize(("size", "slices"), [(32, 1), (64, 4), (128, 2)])
def test_other_sizes(tmp_path: Path, size: int, slices: int) -> None:
    out = write_phantoms(tmp_path, patients=3, size=size, slices=slices)
    mask = np.asarray(nib.load(out / "masks" / "phantom_000.nii.gz").dataobj)
    assert mask.shape == (size, size, slices)
    assert 24 / 96**2 <= mask.mean((0, 1)).max() < 0.1


@pytest.mark.parametrize("bad", [{"patients": 2}, {"size": 31}, {"slices": 0}, {"kind": "foot"}])
def test_refuses_values_out_of_range(tmp_path: Path, bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        write_phantoms(tmp_path, **bad)
    assert not list(tmp_path.iterdir())
