import pytest
import torch

from benchmarks.scores.box_rows import (
    CENTRE,
    LUNGS,
    Film,
    average_box_score,
    average_map_score,
    map_score,
    points_score,
)


def film(case, patient, *boxes, size=(20, 10)):
    return Film(case, patient, size, torch.tensor(boxes).double())


A, B, C = film("a", "p", [0, 0, 4, 4]), film("b", "q", [4, 2, 8, 6]), film("c", "p", [10, 0, 20, 10])


@pytest.mark.parametrize(
    ("points", "box", "hit"),
    [
        (CENTRE, [10, 5, 11, 6], 1),
        (CENTRE, [5, 10, 6, 11], 0),  # axes changed over
        (LUNGS, [6, 5, 7, 6], 0.5),  # columns 6 and 14 of 20
        (LUNGS, [14, 5, 15, 6], 0.5),
        (LUNGS, [0, 0, 20, 10], 1),
        (LUNGS, [8, 0, 12, 10], 0),
        (((1.0, 1.0),), [19, 9, 20, 10], 1),  # the last pixel
    ],
)
def test_points(points, box, hit):
    score = points_score(points, film("a", "p", box))
    assert (score.hit, score.iou) == (hit, None)


def test_map():
    values = torch.zeros(20, 10)
    values[2:4, 3:5], values[3, 4] = 0.3, 0.4
    inside = film("a", "p", [2, 3, 4, 5])
    assert map_score(values, inside, 0.5).iou == pytest.approx(1)  # 0.3 > half of 0.4
    assert map_score(values, inside, 0.8).iou == pytest.approx(1 / 4)  # the highest pixel alone
    assert map_score(values, inside, 0.5).hit == 1 and map_score(values, A, 0.5).hit == 0
    empty = map_score(torch.zeros(20, 10), inside, 0.5)
    assert (empty.hit, empty.iou) == (pytest.approx(4 / 200), 0)  # the box's share of the film


def test_the_average_box_is_of_other_patients():
    # of a and c, which are one patient's, only b counts: centre (6, 4), 16 of 16 + 16 pixels in neither
    assert average_box_score([A, B, C], A).hit == 0 and average_box_score([A, B, C], A).iou == 0
    # of b: mean of a and c is (5, 0, 12, 7), centre (8.5, 3.5): column 8 is outside 4..8; IoU 3 * 4 / (49 + 16 - 12)
    score = average_box_score([A, B, C], B)
    assert (score.hit, score.iou) == (0, pytest.approx(12 / 53))


def test_the_average_box_is_a_share_of_the_film():
    large = film("d", "r", [8, 4, 16, 12], size=(40, 20))  # b, twice as large
    score = average_box_score([B, large], large)
    assert (score.hit, score.iou) == (1, pytest.approx(1))


def test_the_average_map_is_of_other_patients():
    maps = {name: torch.zeros(20, 10) for name in "abc"}
    maps["a"][12, 5], maps["b"][1, 1] = 1, 1
    assert average_map_score(maps, [A, B, C], A, 0.5).hit == 1  # b's map
    assert average_map_score(maps, [A, B, C], C, 0.5).hit == 0
    maps["b"] = torch.zeros(40, 20)
    maps["b"][2:4, 2:4] = 1  # a larger film: the same place
    assert average_map_score(maps, [A, film("b", "q", [4, 2, 8, 6], size=(40, 20)), C], A, 0.5).hit == 1


def test_alone_there_is_no_average():
    assert average_box_score([A, C], A) == average_map_score({}, [A, C], A, 0.5)
