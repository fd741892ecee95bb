from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from scipy import ndimage

from monai_wsss.data.phantoms import PHANTOMS, Phantom, write_phantoms

KINDS = list(PHANTOMS)
LESIONS = ["usual", "tiny", "scattered"]


def draw(
    kind: str, seed: int = 0, split: str = "train", diseased: bool = True, size: int = 48, lesions: str = "usual"
) -> Phantom:
    return PHANTOMS[kind].draw(np.random.default_rng([7, seed]), split, diseased, size, 3, lesions)


def test_names_labels_and_modalities() -> None:
    assert {
        name: (kind.name, kind.label, kind.modality, kind.size, kind.slices) for name, kind in PHANTOMS.items()
    } == {
        "brain_mri": ("brain_mri", "lesion", "MR", 96, 10),
        "brain_ct": ("brain_ct", "haemorrhage", "CT", 96, 10),
        "cxr_pneumothorax": ("cxr_pneumothorax", "pneumothorax", "DX", 256, 1),
        "cxr_tuberculosis": ("cxr_tuberculosis", "tuberculosis", "DX", 256, 1),
    }


@pytest.mark.parametrize(("kind", "lesions"), list(product(KINDS, LESIONS)))
def test_disease_and_mask_agree(kind: str, lesions: str) -> None:
    for seed, size in ((0, 32), (1, 48), (2, 64), (3, 100)):
        shape = (size, size, 1 if PHANTOMS[kind].modality == "DX" else 3)
        ill, well = draw(kind, seed, size=size, lesions=lesions), draw(kind, seed, "test", False, size, lesions)
        for phantom in (ill, well):
            assert phantom.image.shape == phantom.mask.shape == shape
            assert phantom.image.dtype == np.int16 and phantom.mask.dtype == np.uint8 and phantom.spacing_known
        assert set(np.unique(ill.mask)) == {0, 1} and not well.mask.any()


@pytest.mark.parametrize("kind", KINDS)
def test_one_seed_gives_the_same_bytes(kind: str) -> None:
    first, again, other = draw(kind, 0), draw(kind, 0), draw(kind, 1)
    assert first.image.tobytes() == again.image.tobytes() and first.mask.tobytes() == again.mask.tobytes()
    assert first.scanner == again.scanner and np.array_equal(first.affine, again.affine)
    assert all(first.extra[name].tobytes() == again.extra[name].tobytes() for name in first.extra)
    assert first.image.tobytes() != other.image.tobytes()


@pytest.mark.parametrize("kind", KINDS)
def test_lesions_are_smaller_if_tiny_and_more_if_scattered(kind: str) -> None:
    def lesions(which: str) -> tuple[float, float]:
        masks = [draw(kind, seed, size=96, lesions=which).mask for seed in range(8)]
        counts = [ndimage.label(mask, np.ones((3, 3, 3)))[1] for mask in masks]
        return float(np.mean([mask.sum() for mask in masks])), float(np.mean(counts))

    (usual, _), (tiny, few), (_, many) = lesions("usual"), lesions("tiny"), lesions("scattered")
    assert tiny < 0.4 * usual
    assert few <= 2.5 and many > 1.8 * few


@pytest.mark.parametrize("kind", KINDS)
def test_test_patients_come_from_a_site_of_their_own(kind: str) -> None:
    sites = {split: {draw(kind, s, split, size=32).scanner for s in range(12)} for split in ("train", "val", "test")}
    assert len(sites["train"]) == 2 and sites["val"] <= sites["train"]
    assert len(sites["test"]) == 1 and not sites["test"] & sites["train"]


@pytest.mark.parametrize(
    ("kind", "codes", "spacing"),
    [
        ("brain_mri", ("L", "P", "S"), (230.4 / 48, 230.4 / 48, 6.0)),
        ("brain_ct", ("L", "P", "S"), (230.4 / 48, 230.4 / 48, 6.0)),
        ("cxr_pneumothorax", ("L", "I", "P"), (7.5, 7.5, 1.0)),  # 360 mm / 48; row x column points to the back
        ("cxr_tuberculosis", ("L", "I", "P"), (7.5, 7.5, 1.0)),
    ],
)
def test_geometry(kind: str, codes: tuple[str, ...], spacing: tuple[float, ...]) -> None:
    phantom = draw(kind)
    assert nib.aff2axcodes(phantom.affine) == codes
    np.testing.assert_allclose(nib.affines.voxel_sizes(phantom.affine), spacing)
    middle = (np.array(phantom.image.shape) - 1) / 2
    np.testing.assert_allclose(nib.affines.apply_affine(phantom.affine, middle), 0, atol=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_written_table(kind: str, tmp_path: Path) -> None:
    write_phantoms(tmp_path, patients=5, size=32, slices=3, kind=kind, lesions="scattered")
    table, label = pd.read_csv(tmp_path / "labels.csv"), PHANTOMS[kind].label
    volume = PHANTOMS[kind].modality != "DX"
    assert list(table.columns) == ["PatientID", "split", *(["slice"] if volume else []), label]
    assert len(table) == (15 if volume else 5)
    for row in table.itertuples():
        mask = np.asarray(nib.load(tmp_path / "masks" / f"{row.PatientID}.nii.gz").dataobj)
        assert getattr(row, label) == (mask[..., row.slice] if volume else mask).any()
    # of 3 training, 1 validation and 1 test patients the third of training is healthy
    assert list(table.groupby("PatientID")[label].max()) == [1, 1, 0, 1, 1]


def test_slices_of_a_film_are_ignored(tmp_path: Path) -> None:
    write_phantoms(tmp_path, patients=3, size=32, slices=4, kind="cxr_tuberculosis")
    assert nib.load(tmp_path / "images" / "phantom_000.nii.gz").shape == (32, 32, 1)
