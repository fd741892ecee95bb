"""Perceptual hashes: the same image in other clothes is near, other images are far."""

import io
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
from PIL import Image
from scipy.ndimage import gaussian_filter

from monai_wsss.data.duplicates import MAX_DISTANCE, across_patients, across_splits, image_hash, near_duplicates


def texture(seed, side=128):
    """Smooth random structures of several sizes, grey values 0 to 255."""
    rng = np.random.default_rng(seed)
    image = sum(gaussian_filter(rng.normal(size=(side, side)), sigma) * sigma for sigma in (2, 4, 8))
    return np.clip(128 + 90 * (image - image.mean()) / (3 * image.std()), 1, 254)


def cached(image):
    return np.asarray(image, dtype=np.float32)[None, None]


def distance(a, b):
    return float((image_hash(cached(a)) != image_hash(cached(b))).mean())


def picture(image):
    return Image.fromarray(np.asarray(image).astype(np.uint8))


def as_jpeg(image):
    file = io.BytesIO()
    picture(image).save(file, "JPEG", quality=50)
    return np.asarray(Image.open(file))


CHANGES = {
    "jpeg": as_jpeg,
    "smaller": lambda image: np.asarray(picture(image).resize((115, 115))),
    "larger": lambda image: np.asarray(picture(image).resize((141, 141))),
    "brighter": lambda image: np.clip(image + 25, 0, 255),
    "contrast": lambda image: 0.5 * image - 3,
    "normalised": lambda image: (image - image.mean()) / image.std(),
    "padded": lambda image: np.pad(image, 9, constant_values=image.min()),
    "noise": lambda image: image + np.random.default_rng(0).normal(0, 4, image.shape),
}


@pytest.mark.parametrize("name", CHANGES)
def test_the_same_image_in_other_clothes_is_found(name):
    assert max(distance(texture(seed), CHANGES[name](texture(seed))) for seed in range(5)) <= MAX_DISTANCE


def test_other_images_are_far():
    hashes = {str(seed): image_hash(cached(texture(seed))) for seed in range(60)}
    assert near_duplicates(hashes, 0.25) == []


def test_a_volume_is_hashed_at_three_depths():
    volume = np.stack([texture(seed)[None] for seed in range(9)])  # slices 2, 4, 6 of 0 to 8
    expected = [image_hash(cached(texture(seed))) for seed in (2, 4, 6)]
    assert image_hash(volume).shape == (768,) and image_hash(volume[:1]).shape == (256,)
    np.testing.assert_array_equal(image_hash(volume), np.concatenate(expected))


def test_an_empty_image_has_a_hash():
    assert image_hash(np.zeros((1, 1, 32, 32), np.float32)).shape == (256,)


def test_pairs_match_a_plain_loop_across_chunks():
    rng = np.random.default_rng(0)
    hashes = {f"c{i:04d}": rng.random(16) < 0.5 for i in range(1500)}
    hashes |= {f"v{i}": rng.random(48) < 0.5 for i in range(3)}  # other length: never compared
    hashes["v9"] = hashes["v1"].copy()
    found = near_duplicates(hashes, 0.07)  # one bit of 16
    names, bits = sorted(hashes)[:1500], np.stack([hashes[name] for name in sorted(hashes)[:1500]])
    expected = {("v1", "v9", 0.0)}
    for i, name in enumerate(names):
        for j in np.flatnonzero((bits[i + 1 :] != bits[i]).sum(axis=1) <= 1) + i + 1:
            expected.add((name, names[j], round(float((bits[i] != bits[j]).mean()), 4)))
    assert set(found) == expected and len(found) == len(expected) > 100
    assert [pair[2] for pair in found] == sorted(pair[2] for pair in found)
    assert near_duplicates(dict(reversed(hashes.items())), 0.07) == found


def test_no_image_no_pair():
    assert near_duplicates({}) == []
    assert near_duplicates({"a": np.ones(256, bool)}) == []


def test_thousands_of_cases_take_no_time():
    rng = np.random.default_rng(0)
    hashes = {f"c{i}": rng.random(256) < 0.5 for i in range(3000)}
    start = time.process_time()
    near_duplicates(hashes)
    assert time.process_time() - start < 2  # 0.1 s, alone


def test_pairs_across_splits_and_patients():
    pairs = [("a", "b", 0.0), ("a", "c", 0.01), ("b", "d", 0.02), ("c", "e", 0.02)]
    splits = {"a": "training", "b": "test", "c": "training", "d": "test"}
    assert across_splits(pairs, splits) == pairs[:1]
    assert across_patients(pairs, {"a": "p", "b": "p", "c": "q", "d": "q", "e": "q"}) == pairs[1:3]


FILMS = Path(__file__).parents[2] / "../shared/data/cxr_nih/dicom"


def test_chest_films_of_different_patients_are_far_and_copies_near():
    if not FILMS.is_dir():
        pytest.skip("shared/data/cxr_nih is not there")
    files = sorted(FILMS.glob("*.dcm"))[::13]
    films = {f.stem: np.asarray(picture(pydicom.dcmread(f).pixel_array).resize((256, 256))) for f in files}
    hashes = {name: image_hash(cached(film)) for name, film in films.items()}
    pairs = near_duplicates(hashes, 0.2)
    assert across_patients(pairs, {name: name.split("_")[0] for name in films}) == []
    for film in list(films.values())[::4]:
        small = np.asarray(picture(film).resize((230, 230)))
        assert distance(film, np.clip(as_jpeg(small) * 0.9 + 20.0, 0, 255)) <= MAX_DISTANCE
