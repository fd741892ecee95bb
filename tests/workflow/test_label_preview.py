import numpy as np
import pytest
from PIL import Image

from monai_wsss.data import Case, PreparedDataset
from monai_wsss.workflow.label_preview import draw_label_preview

PRESENT, ABSENT, UNKNOWN = (0xD5, 0x5E, 0x00), (0x00, 0x72, 0xB2), (0x99, 0x99, 0x99)
SIDE, TOP, LEFT, PITCH, ROW = 236, 24 + 30 + 12 + 30, 24, 248, 308  # pixels: tile, first tile, next tile, next row


def draw(tmp_path, *cases, labels=("tumour",), depth=12):
    for case in cases:
        # slice k is k dark columns and then bright ones, so that the picture tells the slice
        array = np.zeros((depth, 1, depth, 8), np.float32)
        for k in range(depth):
            array[k, 0, k:] = 1
        np.save(tmp_path / f"{case.case}.npy", array)
    path = tmp_path / "preview.png"
    path.write_bytes(b"an older picture")
    drawn = draw_label_preview(path, PreparedDataset(labels, training=cases), tmp_path)
    assert drawn == path.exists()
    return np.asarray(Image.open(path)) if drawn else None


def sliced(name, rows, **kwargs):
    rows = tuple(row if isinstance(row, tuple) else (row,) for row in rows)
    return Case("x.nii", name, name, tuple(max(column) for column in zip(*rows, strict=True)), rows, **kwargs)


def borders(page, row):
    """Colours of the borders of a row of tiles; None where there is none."""
    places = [place for n in range(6) if (place := LEFT + n * PITCH + 100) < page.shape[1]]
    tops = [tuple(int(v) for v in page[TOP + row * ROW + 3, place]) for place in places]
    return [colour if colour in (PRESENT, ABSENT, UNKNOWN) else None for colour in tops]


def shown(page, row, tile, depth=12):
    """Index of the slice that a tile shows: the share of dark columns."""
    left = LEFT + tile * PITCH + 8
    line = page[TOP + row * ROW + SIDE // 2, left : left + 220].astype(int).sum(axis=1)
    return round(float((line < 380).mean()) * depth)


def test_slices_around_the_first_and_the_last_positive_one(tmp_path):
    page = draw(tmp_path, sliced("c1", [0, 0, 0, 1, 1, 1, 1, 1, -1, 0, 0, 0]))
    assert borders(page, 0) == [ABSENT, PRESENT, PRESENT, PRESENT, PRESENT, UNKNOWN]
    assert [shown(page, 0, tile) for tile in range(6)] == [2, 3, 4, 6, 7, 8]


def test_a_volume_that_begins_and_ends_positive(tmp_path):
    page = draw(tmp_path, sliced("c1", [1] * 12))
    assert borders(page, 0) == [None, PRESENT, PRESENT, PRESENT, PRESENT, None]


def test_one_positive_slice_is_shown_once(tmp_path):
    page = draw(tmp_path, sliced("c1", [0] * 5 + [0.6] + [0] * 6))
    assert borders(page, 0) == [ABSENT, PRESENT, ABSENT]
    assert [shown(page, 0, tile) for tile in range(3)] == [4, 5, 6]


def test_six_cases_and_the_classes_take_turns(tmp_path):
    first = [sliced(f"a{i}", [(0, 0)] * 3 + [(1, 0)] * 9) for i in range(7)]
    second = [sliced(f"b{i}", [(0, 0)] * 9 + [(0, 1)] * 3) for i in range(2)]
    page = draw(tmp_path, *first, *second, labels=("one", "two"))
    assert page.shape[0] == 2 * 24 + 30 + 6 * ROW
    # in turn: a0, b0, a1, b1, a2, a3; slice 3 begins class one, slice 9 class two
    assert [shown(page, row, 1) for row in range(6)] == [3, 9, 3, 9, 3, 3]


def test_images_labelled_as_a_whole(tmp_path):
    cases = [Case("x.nii", f"c{i}", f"c{i}", (value,)) for i, value in enumerate((1, 0, 0.7, -1, 1, 1, 0, 0.2, 0))]
    cases.insert(1, Case("x.nii", "c0b", "c0", (1,)))  # another of the first patient is passed over
    page = draw(tmp_path, *cases)
    assert borders(page, 0) == [PRESENT] * 3 + [ABSENT] * 3
    assert (page == draw(tmp_path, cases[0], *cases[2:])).all()
    assert shown(page, 0, 0) == 6  # the middle of 12


@pytest.mark.parametrize("slices", [True, False])
def test_names_burned_into_the_image_are_never_drawn(tmp_path, slices):
    def case(name, burned_in):
        rows = ((0,),) * 6 + ((1,),) * 6
        return Case("x.nii", name, name, (1,), rows if slices else None, burned_in=burned_in)

    alone = draw(tmp_path, case("c1", False))
    np.testing.assert_array_equal(draw(tmp_path, case("c0", True), case("c1", False)), alone)
    assert draw(tmp_path, case("c0", True)) is None


def test_nothing_to_show(tmp_path):
    assert draw(tmp_path) is None
    assert draw(tmp_path, Case("x.nii", "c", "c", (-1,))) is None
    unread = PreparedDataset(("tumour",), training=(Case("x.nii", "gone", "gone", (1,)),))
    assert not draw_label_preview(tmp_path / "p.png", unread, tmp_path)


def ct(depth=3):
    """A standardised head CT: brain of 30 HU with blood of 70 in bone of 1500, on air cut to -100."""
    hu = np.full((depth, 1, 48, 48), -100, np.float32)
    hu[:, :, 10:38, 10:38] = 1500
    hu[:, :, 12:36, 12:36] = 30 + np.random.default_rng(0).normal(0, 5, (depth, 1, 24, 24))
    hu[:, :, 16:24, 16:24] = 70
    return (hu - 100) / 300


@pytest.mark.parametrize("shift", [0, 5])
def test_blood_can_be_told_from_the_brain(tmp_path, shift):
    case = sliced("c1", [0, 1, 0])
    np.save(tmp_path / "c1.npy", ct() + shift)
    draw_label_preview(tmp_path / "p.png", PreparedDataset(("blood",), training=(case,)), tmp_path)
    page = np.asarray(Image.open(tmp_path / "p.png")).astype(int)[..., 0]
    scale = 220 / 48
    blood, brain, bone = (
        page[TOP + 8 + round(row * scale), LEFT + 8 + round(column * scale)]
        for row, column in ((20, 20), (30, 30), (11, 20))
    )
    assert blood - brain > 40 and bone == 255  # of 1600 HU, 40 would be 6 levels of 255


def test_of_windows_the_first_is_shown_in_grey(tmp_path):
    case = sliced("c1", [0, 1, 0])
    windows = np.full((3, 2, 8, 8), -2, np.float32)
    windows[:, 0, 4:] = 2
    np.save(tmp_path / "c1.npy", windows)
    draw_label_preview(tmp_path / "p.png", PreparedDataset(("blood",), training=(case,)), tmp_path)
    page = np.asarray(Image.open(tmp_path / "p.png"))
    assert page[TOP + 100, LEFT + 30].tolist() == [0] * 3 and page[TOP + 100, LEFT + 200].tolist() == [255] * 3
