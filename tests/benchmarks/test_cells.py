"""Places and splits of folds and seeds, and the runs of other tables that a cell may take from."""

import json
from pathlib import Path

import pytest

from benchmarks.rows.cells import STEPS_FILE, check_counts, make_cells, rows_of, runs_of
from monai_wsss.data import Case, PreparedDataset
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import Manifest


@pytest.fixture
def data(tmp_path):
    """Nine patients, all with the finding."""
    cases = tuple(Case(tmp_path / "data" / f"{n}.nii.gz", f"c{n}", f"p{n}", (1,)) for n in range(9))
    (tmp_path / "data").mkdir()
    PreparedDataset(("x",), training=cases[:5], test=cases[5:]).write(tmp_path / "data")
    return tmp_path / "data"


@pytest.mark.parametrize(
    ("folds", "seeds", "expected"),
    [
        (1, 1, [(0, None, ".", 0)]),
        (1, 2, [(0, 0, "fold_0/seed_0", 0), (0, 1, "fold_0/seed_1", 1)]),
        (2, 1, [(0, 0, "fold_0/seed_0", 0), (1, 1, "fold_1/seed_1", 0)]),
        (
            2,
            2,
            [
                (0, 0, "fold_0/seed_0", 0),
                (0, 2, "fold_0/seed_2", 1),
                (1, 1, "fold_1/seed_1", 0),
                (1, 3, "fold_1/seed_3", 1),
            ],
        ),
    ],
)
def test_places(data, tmp_path, folds, seeds, expected):
    cells = make_cells(data, tmp_path / "work", folds, seeds)
    assert [(cell.fold, cell.seed, cell.place.as_posix(), cell.turn) for cell in cells] == expected
    own = tmp_path / "work" / "fold_1" / "data"
    assert cells[-1].data == (own if folds > 1 else data)


def test_folds_are_the_same_for_all_seeds_and_test_every_patient_once(data, tmp_path):
    cells = make_cells(data, tmp_path, 3, 2)
    tested = [case.patient for cell in cells[::2] for case in PreparedDataset.read(cell.data).test]
    assert sorted(tested) == [f"p{n}" for n in range(9)]
    assert [cell.data for cell in cells[::2]] == [cell.data for cell in cells[1::2]]
    assert make_cells(data, tmp_path, 3, 2) == cells


@pytest.mark.parametrize(
    ("folds", "seeds", "given", "match"),
    [
        (0, 1, False, "at least 1 of each"),
        (1, 0, False, "at least 1"),
        (1, 2, True, "leave out --set seed"),
        (5, 1, True, "own; leave"),
    ],
)
def test_numbers_that_cannot_be(folds, seeds, given, match):
    with pytest.raises(InputError, match=match):
        check_counts(folds, seeds, given)


def test_one_given_seed_is_no_contradiction():
    check_counts(1, 1, True)


def test_runs_to_take_stages_from(data, tmp_path):
    """A run itself; else those of one method, or of several, in the same cell of another table."""
    table = tmp_path / "table"
    places = ["method", "fold_1/seed_1/a/method", "fold_1/seed_1/b/method", "fold_0/seed_0/a/method"]
    for place in places:
        (table / place).mkdir(parents=True)
        Manifest(table / place).set(stages={})
    whole, (_, second) = make_cells(data, tmp_path)[0], make_cells(data, tmp_path / "work", 2)
    assert runs_of(table / "method", second) == [table / "method"]
    assert runs_of(table, whole) == [table / "method"]
    assert runs_of(table, second) == [table / place for place in places[1:3]]
    with pytest.raises(InputError, match="no run there; name a run folder"):
        runs_of(tmp_path, second)


def test_rows_of_another_table_in_the_same_cell(data, tmp_path):
    second = make_cells(data, tmp_path / "work", 2)[1]
    folder = tmp_path / "table" / "fold_1" / "seed_1"
    folder.mkdir(parents=True)
    (folder / STEPS_FILE).write_text(json.dumps({"segmenter": "method/predictions"}))
    assert rows_of(tmp_path / "table", second) == {"segmenter": folder / "method" / "predictions"}
    with pytest.raises(InputError, match="no rows of such a table; run `python -m benchmarks accuracy"):
        rows_of(Path("nothing"), second)
