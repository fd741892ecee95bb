"""Volumes and masks of the prepared folder: read once, values and geometry kept, names left behind."""

import gzip
import json

import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_wsss.data import import_volume
from monai_wsss.data.import_volume import import_masks, import_volumes
from monai_wsss.data.nifti import read_nifti, read_nifti_header
from monai_wsss.data.picture import read_picture_header
from monai_wsss.data.pseudonyms import Pseudonyms
from monai_wsss.data.read_volume import read_volume
from monai_wsss.data.volume import Volume
from monai_wsss.data.voxel_size import UNKNOWN
from monai_wsss.errors import InputError

OBLIQUE = np.array([[-0.8, 0.1, 0.4, 17.5], [0.1, -0.8, 1.2, -40.25], [0.2, 0.3, 4.8, 3.0], [0, 0, 0, 1.0]])
NAMES = Pseudonyms(bytes(range(32)))
CLEAR = Pseudonyms(None)


def nifti(folder, name="DOE_JANE", seed=0, affine=OBLIQUE, code=1, dtype=np.float32, array=None):
    """A volume with a name in every free-text field."""
    path = folder / f"{name}.nii.gz"
    if array is None:
        array = np.random.default_rng(seed).normal(0, 500, (5, 4, 3)).astype(dtype)
    image = nib.Nifti1Image(array, affine)
    image.header["descrip"], image.header["aux_file"] = b"DOE JANE 1954", b"DOE_JANE.dcm"
    image.header["intent_name"], image.header["db_name"] = b"DOE", b"DOE JANE"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"patient DOE JANE"))
    image.set_sform(affine, code=code)
    image.set_qform(affine, code=code)
    folder.mkdir(parents=True, exist_ok=True)
    nib.save(image, path)
    return Volume((path,), path.relative_to(folder), name, read_nifti_header(path), bytes=path.stat().st_size)


def picture(folder, name="DOE_JANE"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    Image.fromarray(np.arange(20, dtype=np.uint8).reshape(4, 5)).save(path)
    return Volume((path,), path.relative_to(folder), name, read_picture_header(path), "picture")


def size_of(volume, array, affine):
    return {"voxels": array.size, "mean": round(float(array.mean()), 3), "slices": volume.header.shape[2]}


def run(volumes, folder, names=NAMES, **options):
    return import_volumes(volumes, [names.case(volume.case) for volume in volumes], folder, names, **options)


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were read."""
    seen, read = [], import_volume.read_volume

    def counting(source, **options):
        seen.append((source.path if isinstance(source, Volume) else source).name)
        return read(source, **options)

    monkeypatch.setattr(import_volume, "read_volume", counting)
    return seen


@pytest.mark.parametrize("code", [0, 1, 2])
@pytest.mark.parametrize("dtype", [np.int16, np.uint8, np.float32])
def test_values_and_geometry_stay_and_texts_go(tmp_path, dtype, code):
    affine = OBLIQUE if code else np.diag([1.0, 1.0, 1.0, 1.0])
    volume = nifti(tmp_path / "in", dtype=dtype, affine=affine, code=code)
    ((image,), skipped) = run([volume], tmp_path / "images", note=size_of)
    assert skipped == [] and image.case == NAMES.case("DOE_JANE")
    assert image.path == tmp_path / "images" / f"{image.case}.nii.gz"
    (expected, affine), (found, placed) = read_nifti(volume.path), read_nifti(image.path)
    assert np.array_equal(expected, found)
    np.testing.assert_allclose(placed, affine, atol=1e-5)
    assert read_volume(image.path).spacing_known is bool(code)
    raw = gzip.decompress(image.path.read_bytes())
    assert b"DOE" not in raw.upper() and b"JANE" not in raw.upper()
    assert raw[148:252].strip(b"\0") == (b"" if code else UNKNOWN)
    assert len(raw) == 352 + 60 * nib.load(image.path).get_data_dtype().itemsize  # no extension behind the header
    assert {path.name for path in (tmp_path / "images").iterdir()} == {f"{image.case}.nii.gz", f"{image.case}.json"}
    assert image.notes == {"voxels": 60, "mean": round(float(expected.mean()), 3), "slices": 3}


def test_a_picture_becomes_a_volume_without_spacing(tmp_path):
    ((image,), _) = run([picture(tmp_path / "in")], tmp_path / "images")
    assert read_nifti_header(image.path).shape == (5, 4, 1) and not read_volume(image.path).spacing_known
    assert read_nifti(image.path)[0][:, :, 0].T.tolist() == np.arange(20).reshape(4, 5).tolist()


def test_what_is_there_is_not_read_again(tmp_path, reads):
    volumes = [nifti(tmp_path / "in", name, seed) for seed, name in enumerate(("a", "b", "c"))]
    first = run(volumes, tmp_path / "images", note=size_of)
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "images").iterdir()}
    assert run(volumes, tmp_path / "images", note=size_of) == first
    assert reads == ["a.nii.gz", "b.nii.gz", "c.nii.gz"]
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "images").iterdir()} == before


@pytest.mark.parametrize("change", ["source", "note", "voi", "image", "record", "key"])
def test_what_changed_is_read_again(tmp_path, reads, change):
    volumes = [nifti(tmp_path / "in", name) for name in ("a", "b")]
    ((image, _), _) = run(volumes, tmp_path / "images", note=size_of)
    options, names, expected = {"note": size_of}, NAMES, ["a.nii.gz"]
    if change == "source":
        volumes[0] = nifti(tmp_path / "in", "a", seed=5)
    elif change == "image":
        image.path.unlink()
    elif change == "record":
        image.path.with_name(f"{image.case}.json").write_text("{")
    else:
        expected = ["a.nii.gz", "b.nii.gz"]
        options = {"note": {"note": None}.get(change, size_of), "voi": change == "voi"}
        names = Pseudonyms(bytes(32)) if change == "key" else NAMES
    reads.clear()
    ((image, _), _) = import_volumes(volumes, [image.case, NAMES.case("b")], tmp_path / "images", names, **options)
    assert reads == expected
    assert np.array_equal(read_nifti(image.path)[0], read_nifti(volumes[0].path)[0])


@pytest.mark.parametrize("step", ["write_image", "write_json"])
def test_an_interrupted_call_goes_on_where_it_stopped(tmp_path, monkeypatch, reads, step):
    volumes = [nifti(tmp_path / "in", name, seed) for seed, name in enumerate(("a", "b", "c"))]
    whole, _ = run(volumes, tmp_path / "whole", note=size_of)
    write, calls = getattr(import_volume, step), []

    def killed(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(*arguments)

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(import_volume, step, killed)
        run(volumes, tmp_path / "images", note=size_of)
    reads.clear()
    images, _ = run(volumes, tmp_path / "images", note=size_of)
    assert reads == ["b.nii.gz", "c.nii.gz"]
    assert [image.notes for image in images] == [image.notes for image in whole]
    for image in whole:
        assert (tmp_path / "images" / image.path.name).read_bytes() == image.path.read_bytes()


def test_one_bad_volume_does_not_stop_the_others(tmp_path):
    good, bad, gone = (nifti(tmp_path / "in", name) for name in ("good", "DOE_JANE", "ROE_JIM"))
    bad.path.write_bytes(bad.path.read_bytes()[:90])
    gone.path.unlink()
    seen = []
    images, skipped = run([bad, good, gone], tmp_path / "images", progress=lambda *step: seen.append(step))
    assert [image.case for image in images] == [NAMES.case("good")]
    assert [skip.file for skip in skipped] == [str(bad.path), str(gone.path)]  # in clear, for whoever hashes it
    for skip in skipped:
        assert skip.reason and "\n" not in skip.reason
        for name in ("DOE", "ROE", str(tmp_path), ".nii"):
            assert name not in skip.reason, skip.reason
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_a_note_that_cannot_be_made_skips_the_volume(tmp_path):
    def refuse(volume, array, affine):
        raise InputError(f"{volume.path}: nothing in it")

    images, skipped = run([nifti(tmp_path / "in")], tmp_path / "images", note=refuse)
    assert images == [] and skipped[0].reason == "nothing in it"
    assert not (tmp_path / "images").exists()


def test_kept_names_copy_no_nifti_but_note_it(tmp_path, reads):
    volumes = [nifti(tmp_path / "in"), picture(tmp_path / "in", "film")]
    (own, film), _ = run(volumes, tmp_path / "images", CLEAR, note=size_of)
    assert own.path == volumes[0].path and own.notes["voxels"] == 60
    assert film.path == tmp_path / "images" / "film.nii.gz" and film.path.is_file()
    names = {path.name for path in (tmp_path / "images").iterdir()}
    assert names == {"DOE_JANE.json", "film.json", "film.nii.gz"}
    assert run(volumes, tmp_path / "images", CLEAR, note=size_of)[0] == [own, film]
    assert len(reads) == 2


def test_the_record_tells_nothing_without_the_key(tmp_path):
    volume = nifti(tmp_path / "in")
    ((image,), _) = run([volume], tmp_path / "images")
    record = json.loads(image.path.with_name(f"{image.case}.json").read_text())
    other = import_volumes([volume], ["other"], tmp_path / "images", Pseudonyms(bytes(32)))[0][0]
    assert record["source"] != json.loads(other.path.with_name("other.json").read_text())["source"]
    assert set(record) == {"source", "notes", "wrote"} and len(record["source"]) == 64


def mask_of(folder, values, name="DOE_JANE_mask", dtype=np.uint8):
    array = np.zeros((5, 4, 3), dtype)
    array[1:3, 1:3, 0], array[1:3, 1:3, 1] = values
    return nifti(folder, name, dtype=dtype, array=array)


def masks(volume, folder, images, names=NAMES):
    return import_masks({image.case: volume for image in images}, {i.case: i.path for i in images}, folder, names)


@pytest.mark.parametrize("as_path", [False, True])
@pytest.mark.parametrize(("dtype", "values"), [(np.uint8, (1, 2)), (np.float32, (1, 255)), (np.int16, (3, 0))])
def test_a_mask_becomes_uint8_in_its_images_geometry(tmp_path, reads, dtype, values, as_path):
    images, _ = run([nifti(tmp_path / "in")], tmp_path / "images")
    mask = mask_of(tmp_path / "masks", values, dtype=dtype)
    mask = mask.path if as_path else mask
    truth, skipped = masks(mask, tmp_path / "truth", images)
    ((case, path),) = truth.items()
    assert path == tmp_path / "truth" / f"{case}.nii.gz" and skipped == []
    found, image = nib.load(path), nib.load(images[0].path)
    assert found.get_data_dtype() == np.uint8 and np.array_equal(found.affine, image.affine)
    array = np.asarray(found.dataobj)
    assert [int(array[..., 0].max()), int(array[..., 1].max()), int(array[..., 2].max())] == [*values, 0]
    assert b"DOE" not in gzip.decompress(path.read_bytes())
    reads.clear()
    assert masks(mask, tmp_path / "truth", images) == (truth, []) and reads == []


@pytest.mark.parametrize("as_path", [False, True])
def test_a_mask_with_a_palette_holds_its_indices(tmp_path, as_path):
    images, _ = run([picture(tmp_path / "in")], tmp_path / "images")
    classes = np.arange(20, dtype=np.uint8).reshape(4, 5) % 3
    mask = picture(tmp_path / "masks")
    palette = Image.fromarray(classes)
    palette.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    palette.save(mask.path)
    truth, skipped = masks(mask.path if as_path else mask, tmp_path / "truth", images)
    assert skipped == []
    assert np.array_equal(np.asarray(nib.load(truth[images[0].case]).dataobj)[..., 0].T, classes)


@pytest.mark.parametrize("values", [(0.5, 1), (1, 256), (-1, 1)])
def test_other_values_stay_for_evaluate_to_refuse(tmp_path, values):
    images, _ = run([nifti(tmp_path / "in")], tmp_path / "images")
    truth, _ = masks(mask_of(tmp_path / "masks", values, dtype=np.float32), tmp_path / "truth", images)
    array = np.asarray(nib.load(truth[images[0].case]).dataobj)
    assert [array[..., 0].flat[5], array[..., 1].flat[5]] == list(values)


def test_bad_masks_and_kept_names(tmp_path):
    images, _ = run([nifti(tmp_path / "in")], tmp_path / "images")
    mask = mask_of(tmp_path / "masks", (1, 1))
    assert masks(mask, tmp_path / "truth", images, CLEAR) == ({images[0].case: mask.path}, [])
    mask.path.write_bytes(b"DOE JANE")
    truth, (skip,) = masks(mask, tmp_path / "truth", images)
    assert truth == {} and skip.file == str(mask.path) and "DOE" not in skip.reason
    assert not (tmp_path / "truth").exists()


def coloured(folder, name="DOE_JANE"):
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}.png"
    Image.fromarray(np.arange(60, dtype=np.uint8).reshape(4, 5, 3)).save(path)
    return Volume((path,), path.relative_to(folder), name, read_picture_header(path), "picture")


def test_pictures_keep_their_colours_on_request(tmp_path, reads):
    volumes = [coloured(tmp_path / "in"), picture(tmp_path / "in", "GREY")]
    found, _ = run(volumes, tmp_path / "images", note=size_of)
    assert [len(nib.load(image.path).get_data_dtype()) for image in found] == [0, 0]
    found, _ = run(volumes, tmp_path / "images", note=size_of, colour=True)
    assert len(reads) == 4  # another reading, so both were read again
    assert [len(nib.load(image.path).get_data_dtype()) for image in found] == [3, 0]
    assert [nib.load(image.path).shape for image in found] == [(5, 4, 1)] * 2
    assert [image.notes["voxels"] for image in found] == [20, 20]  # what is noted is noted of the luminance
    assert np.array_equal(read_nifti(found[0].path, colour=True)[0], read_volume(volumes[0], colour=True).array)
    run(volumes, tmp_path / "images", note=size_of, colour=True)
    assert len(reads) == 4


def test_void_of_a_true_mask_stays(tmp_path):
    image = coloured(tmp_path / "in")
    (found,), _ = run([image], tmp_path / "images", colour=True)
    mask = np.array([[0, 20, 255, 0, 0], [1, 255, 0, 0, 0], [0, 0, 0, 0, 0], [0, 0, 0, 0, 255]], np.uint8)
    palette = Image.fromarray(mask)
    palette.putpalette([0, 0, 0, *range(1, 255), 224, 224, 192])
    palette.save(tmp_path / "mask.png")
    truth, skipped = import_masks({"a": tmp_path / "mask.png"}, {"a": found.path}, tmp_path / "truth", NAMES)
    assert skipped == [] and np.array_equal(np.asarray(nib.load(truth["a"]).dataobj)[..., 0].T, mask)
