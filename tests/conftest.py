"""Tiny studies, and one whole pipeline on them that many tests look at."""

import csv
import sys
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
from tiny_bundles import (
    BES_BUNDLE,
    BUNDLE,
    CT_BUNDLE,
    DECONV_BUNDLE,
    DECONV_SETTINGS,
    DSRG_BUNDLE,
    FILM_BUNDLE,
    FILM_SETTINGS,
    GROWING_SETTINGS,
    SETTINGS,
)

AXIAL = np.diag([-4.0, -4.0, 6.0, 1.0])  # mm; 4 x 4 x 6 = 0.096 ml a voxel
SPLITS = {"train": 5, "val": 2, "test": 2}


def _head(rng, depth, lesion_slices):
    """Head of 20 x 24 pixels around 100; the lesion is a 6 x 6 square around 200."""
    volume, mask = np.zeros((28, 32, depth), np.float32), np.zeros((28, 32, depth), np.uint8)
    volume[4:24, 4:28] = rng.uniform(80, 120, (20, 24, depth))
    x, y = rng.integers(6, 16, 2)
    mask[x : x + 6, y : y + 6, list(lesion_slices)] = 1
    return volume + 100 * mask, mask


@pytest.fixture(scope="session")
def write_volume():
    def write(path, array, affine=AXIAL):
        path.parent.mkdir(parents=True, exist_ok=True)
        nib.save(nib.Nifti1Image(array, affine), path)
        return path

    return write


@pytest.fixture(scope="session")
def write_study(write_volume):
    """Writes images/, masks/ and labels.csv: patients of 4 slices, lesions in slices 1 and 2; every third has none."""

    def write(folder, splits=None, seed=0, positive=lambda split, number: number % 3 < 2):
        rng, rows, total = np.random.default_rng(seed), [], 0
        for split, count in (splits or SPLITS).items():
            for number in range(count):
                name = f"HOSP{total:03d}"
                volume, mask = _head(rng, 4, (1, 2) if positive(split, number) else ())
                write_volume(folder / "images" / f"{name}.nii.gz", volume)
                write_volume(folder / "masks" / f"{name}.nii.gz", mask)
                rows += [[name, split, index, int(mask[..., index].any())] for index in range(4)]
                total += 1
        with (folder / "labels.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["PatientID", "split", "slice", "lesion"], *rows])
        return folder

    return write


@pytest.fixture(scope="session")
def prepare_study():
    def prepare_study(study, out, masks=True):
        from monai_wsss.transforms import GridPreprocessing
        from monai_wsss.workflow.prepare import prepare

        grid = GridPreprocessing(pixel_spacing=SETTINGS["pixel_spacing"], size=SETTINGS["size"])
        truth = study / "masks" if masks else None
        prepare(study / "images", study / "labels.csv", out, masks=truth, keep_names=True, preprocessing=grid)
        return out

    return prepare_study


@pytest.fixture(scope="session")
def run_pipeline():
    """Runs the bundle on a prepared folder, everything tiny; further settings and options by keyword."""

    def run(data, out, settings=None, bundle=BUNDLE, **options):
        from monai_wsss.workflow import Pipeline

        options = {"device": "cpu", "tracking_uri": "none"} | options
        return Pipeline(str(bundle), str(data), str(out), overrides=SETTINGS | (settings or {}), **options).run()

    return run


@pytest.fixture(scope="session")
def whole(tmp_path_factory, write_study, prepare_study, run_pipeline):
    """One whole run: `study`, `data`, `run`, `records`. To be looked at, not changed."""
    root = tmp_path_factory.mktemp("whole")
    study = write_study(root / "study")
    data = prepare_study(study, root / "data")
    records = run_pipeline(data, root / "run")
    return SimpleNamespace(root=root, study=study, data=data, run=root / "run", records=records, bundle=BUNDLE)


@pytest.fixture(scope="session")
def run_bundle():
    """Runs any bundle on a prepared folder with the settings given and no others."""

    def run(bundle, data, out, settings, **options):
        from monai_wsss.workflow import Pipeline

        options = {"device": "cpu", "tracking_uri": "none"} | options
        return Pipeline(str(bundle), str(data), str(out), overrides=settings, **options).run()

    return run


def _growing_run(bundle, whole, run_bundle, folder):
    records = run_bundle(bundle, whole.data, folder / "run", GROWING_SETTINGS)
    places = {"study": whole.study, "data": whole.data, "run": folder / "run"}
    return SimpleNamespace(root=folder, records=records, bundle=bundle, settings=GROWING_SETTINGS, **places)


@pytest.fixture(scope="session")
def whole_dsrg(tmp_path_factory, whole, run_bundle):
    """One whole run of the DSRG bundle on the data of `whole`. To be looked at, not changed."""
    return _growing_run(DSRG_BUNDLE, whole, run_bundle, tmp_path_factory.mktemp("dsrg"))


@pytest.fixture(scope="session")
def whole_bes(tmp_path_factory, whole, run_bundle):
    """One whole run of the BES bundle on the data of `whole`. To be looked at, not changed."""
    return _growing_run(BES_BUNDLE, whole, run_bundle, tmp_path_factory.mktemp("bes"))


@pytest.fixture(scope="session")
def write_films(write_volume):
    """Writes images/, masks/ and labels.csv: films of 28 x 32 pixels around 100, squares around 200.

    Class k of `labels` has a square of its own place in every second film; films take turns in having none.
    """

    def write(folder, splits, labels=("lesion",), seed=0):
        rng, rows, total = np.random.default_rng(seed), [], 0
        for split, count in splits.items():
            for number in range(count):
                film, mask = rng.uniform(80, 120, (28, 32, 1)), np.zeros((28, 32, 1), np.uint8)
                for k in range(len(labels)):
                    if (number + k) % 2:
                        x, y = rng.integers(1, 18), 1 + 10 * k + rng.integers(0, 3)
                        mask[x : x + 8, y : y + 8] = k + 1
                name = f"FILM{total:03d}"
                write_volume(
                    folder / "images" / f"{name}.nii.gz", (film + 50 * (1 + mask) * (mask > 0)).astype(np.float32)
                )
                write_volume(folder / "masks" / f"{name}.nii.gz", mask)
                rows.append([name, split, *(int((mask == k + 1).any()) for k in range(len(labels)))])
                total += 1
        with (folder / "labels.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["PatientID", "split", *labels], *rows])
        return folder

    return write


@pytest.fixture(scope="session")
def run_film_bundle():
    """Runs the chest X-ray bundle on a prepared folder, everything tiny."""

    def run(data, out, settings=None, bundle=FILM_BUNDLE, **options):
        from monai_wsss.workflow import Pipeline

        options = {"device": "cpu", "tracking_uri": "none"} | options
        return Pipeline(str(bundle), str(data), str(out), overrides=FILM_SETTINGS | (settings or {}), **options).run()

    return run


@pytest.fixture(scope="session")
def run_films(run_film_bundle):
    """Prepares the films of a folder into `out`/data and runs the chest X-ray bundle on them into `out`/run."""

    def run(study, out, settings=None, masks=True):
        from monai_wsss.transforms import GridPreprocessing
        from monai_wsss.workflow.prepare import prepare

        grid = GridPreprocessing(pixel_spacing=None, size=FILM_SETTINGS["size"])
        truth = study / "masks" if masks else None
        prepare(study / "images", study / "labels.csv", out / "data", masks=truth, keep_names=True, preprocessing=grid)
        return run_film_bundle(out / "data", out / "run", settings)

    return run


@pytest.fixture(scope="session")
def whole_films(tmp_path_factory, write_films, run_films):
    """One whole run of the chest X-ray bundle: `study`, `data`, `run`, `records`. To be looked at, not changed."""
    root = tmp_path_factory.mktemp("films")
    study = write_films(root / "study", {"train": 16, "val": 6, "test": 4})
    records = run_films(study, root)
    places = {"study": study, "data": root / "data", "run": root / "run"}
    return SimpleNamespace(root=root, records=records, bundle=FILM_BUNDLE, **places)


@pytest.fixture(scope="session")
def whole_deconv(tmp_path_factory, whole_films, run_bundle):
    """One whole run of the tied deconvolution on the data of `whole_films`. To be looked at, not changed."""
    root = tmp_path_factory.mktemp("deconv")
    records = run_bundle(DECONV_BUNDLE, whole_films.data, root / "run", DECONV_SETTINGS)
    places = {"study": whole_films.study, "data": whole_films.data, "run": root / "run"}
    return SimpleNamespace(root=root, records=records, bundle=DECONV_BUNDLE, settings=DECONV_SETTINGS, **places)


@pytest.fixture(scope="session")
def write_ct_study(write_volume):
    """Writes images/ in Hounsfield units, masks/ and labels.csv with a row a study: 4 slices, blood in 1 and 2."""

    def write(folder, splits=None, seed=0):
        rng, rows, total = np.random.default_rng(seed), [], 0
        for split, count in (splits or {"train": 8, "val": 4, "test": 2}).items():
            for number in range(count):
                head, mask = _head(rng, 4, () if number % 2 else (1, 2))
                volume = np.where(head > 0, 0.2 * (head - 100) + 30, -1000)  # brain 26 to 34, blood 46 to 54
                write_volume(folder / "images" / f"CT{total:03d}.nii.gz", volume.astype(np.int16))
                write_volume(folder / "masks" / f"CT{total:03d}.nii.gz", mask)
                rows.append([f"CT{total:03d}", split, int(mask.any())])
                total += 1
        with (folder / "labels.csv").open("w", newline="") as stream:
            csv.writer(stream).writerows([["PatientID", "split", "haemorrhage"], *rows])
        return folder

    return write


@pytest.fixture(scope="session")
def whole_ct(tmp_path_factory, write_ct_study, prepare_study, run_bundle):
    """One whole run of the CT bundle on studies with one label each. To be looked at, not changed."""
    root = tmp_path_factory.mktemp("ct")
    study = write_ct_study(root / "study")
    data = prepare_study(study, root / "data")
    records = run_bundle(CT_BUNDLE, data, root / "run", SETTINGS | {"threshold": 0.5})
    return SimpleNamespace(root=root, study=study, data=data, run=root / "run", records=records, bundle=CT_BUNDLE)


@pytest.fixture(scope="session")
def files_of():
    """Bytes of every file below a folder, by relative path."""

    def read(folder):
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    return read


@pytest.fixture
def command(monkeypatch, capsys):
    """Runs `monai-wsss ...` in this process; returns the exit code and the lines of both streams."""
    from monai_wsss import cli

    monkeypatch.setattr(cli, "set_up_logging", lambda: None)  # logging stays pytest's

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["monai-wsss", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        streams = capsys.readouterr()
        return ended.value.code or 0, streams.out.splitlines(), streams.err.splitlines()

    return run
