from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.rows.folds import write_variant
from benchmarks.scores.nuisance_rows import ALL, nuisance_classifiers
from monai_wsss.data import Case, PreparedDataset, write_table

COLUMNS = ("case", "file_size", "columns", "scanner")


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """120 films and patients, 60 to test: the file size tells class a, the scanner class b, the width neither."""
    folder = tmp_path_factory.mktemp("nuisance")
    rng, cases, rows = np.random.default_rng(0), [], []
    for number in range(120):
        a, b = rng.integers(0, 2, 2).tolist()
        name = f"{number:04d}"  # a table's reader would take it for a number
        cases.append(Case(folder / f"{name}.png", name, name, (a, b)))
        rows.append([name, 1000 + 500 * a + number, rng.integers(400, 600), "XY"[b]])
    (folder / "cache").mkdir()
    write_table(folder / "nuisance.csv", COLUMNS, rows)
    PreparedDataset(("a", "b"), {}, tuple(cases[:50]), tuple(cases[50:60]), tuple(cases[60:])).write(folder)
    return folder


def test_each_variable_tells_what_it_tells(data):
    found = nuisance_classifiers(data)
    assert list(found) == ["file size", "image size", "scanner", ALL]  # neither slices, nor a site
    means = {name: {label: part["mean"] for label, part in row["classes"].items()} for name, row in found.items()}
    assert means["file size"]["a"] == means["scanner"]["b"] == 1
    assert means[ALL]["a"] == means[ALL]["b"] == found[ALL]["auc"]["mean"] == 1
    assert all(0.3 < value < 0.7 for value in (*means["image size"].values(), means["file size"]["b"]))
    assert found[ALL]["auc"]["n"] == 120 and found[ALL]["auc"]["patients"] == 60
    assert found["file size"]["classes"]["a"]["n"] == 60


def test_labels_of_the_test_split_teach_nothing(data, tmp_path):
    """Turned round they give one minus the AUC."""
    dataset = PreparedDataset.read(data)
    turned = tuple(replace(case, classes=tuple(1 - value for value in case.classes)) for case in dataset.test)
    variant = write_variant(replace(dataset, test=turned), data, tmp_path / "turned")
    before, after = nuisance_classifiers(data), nuisance_classifiers(variant)
    for name in before:
        assert after[name]["auc"]["mean"] == pytest.approx(1 - before[name]["auc"]["mean"])


def test_the_order_of_cases_and_folds_does_not_matter(data, tmp_path):
    dataset = PreparedDataset.read(data)
    variant = write_variant(replace(dataset, test=dataset.test[::-1]), data, tmp_path / "one")
    turned, straight = nuisance_classifiers(variant), nuisance_classifiers(data)
    assert {k: row["auc"]["mean"] for k, row in turned.items()} == {
        k: row["auc"]["mean"] for k, row in straight.items()
    }
    other = write_variant(replace(dataset, training=dataset.test, test=dataset.training), data, tmp_path / "other")
    pooled, again = nuisance_classifiers(data, other), nuisance_classifiers(other, data)
    for name, row in pooled.items():
        assert row["auc"]["mean"] == pytest.approx(again[name]["auc"]["mean"])
        assert row["auc"]["patients"] == 110 and row["auc"]["n"] == 220


def volumes(folder, slices=21, patients=40):
    """The finding is in the middle third of each volume, so that its place tells it, but not from above or below."""
    place = np.linspace(0, 1, slices)
    rows = tuple((int(0.33 < value < 0.67),) for value in place)
    return [Case(folder / f"{n}.nii", f"c{n}", f"p{n}", (1,), rows, site="north") for n in range(patients)]


def test_slices_by_their_position(tmp_path):
    """Without a table of the images; a site that all come from says nothing."""
    cases = volumes(tmp_path)
    PreparedDataset(("lesion",), {}, tuple(cases[:20]), (), tuple(cases[20:])).write(tmp_path)
    found = nuisance_classifiers(tmp_path)
    assert list(found) == ["slice position", ALL] and "classes" not in found[ALL]
    assert found["slice position"]["auc"] == {"mean": 1.0, "ci95": [1.0, 1.0], "n": 420, "patients": 20}


def test_sites_and_labels_that_say_nothing(tmp_path):
    """Soft and unknown labels are left out; nothing is learnt where all that is left has one label."""
    sites = [replace(case, site=f"s{number % 2}", slice_classes=None) for number, case in enumerate(volumes(tmp_path))]
    labelled = [replace(case, classes=((number % 2, 0.3, -1)[number % 3],)) for number, case in enumerate(sites)]
    PreparedDataset(("lesion",), {}, tuple(sites[:20]), (), tuple(labelled[20:])).write(tmp_path)
    found = nuisance_classifiers(tmp_path)
    assert list(found) == ["site", ALL]
    kept = [case for case in labelled[20:] if case.classes[0] in (0, 1)]
    assert found["site"]["auc"]["n"] == len(kept) and found["site"]["auc"]["mean"] == 0.5


def test_nothing_is_known(tmp_path):
    cases = [replace(case, slice_classes=None, classes=(n % 2,)) for n, case in enumerate(volumes(tmp_path))]
    PreparedDataset(("lesion",), {}, tuple(cases[:20]), (), tuple(cases[20:])).write(tmp_path)
    assert nuisance_classifiers(tmp_path) == {}


def test_the_table_of_a_prepared_folder(whole_films):
    found = nuisance_classifiers(Path(whole_films.data))
    assert "file size" in found and "slice position" not in found
    assert found[ALL]["auc"]["n"] == len(PreparedDataset.read(whole_films.data).test)
