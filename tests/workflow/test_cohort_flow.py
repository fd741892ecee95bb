import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from monai_wsss.data import Case, PreparedDataset
from monai_wsss.workflow.cohort_flow import CohortFlow, reason_group


def case(name, patient, *classes, site=None, slices=None):
    return Case(Path("secret.nii"), name, patient, classes, slices, site)


def flow():
    dataset = PreparedDataset(
        ("tumour", "oedema"),
        training=(
            case("c1", "p1", 1, 0, site="A", slices=((1, 0), (0, 0), (-1, 0))),
            case("c2", "p1", 0.5, -1, site="B"),
            case("c3", "p2", 0, 1),
        ),
        test=(case("c4", "p3", 0, 0),),
    )
    flow = CohortFlow()
    flow.step("Found", files=1234, series=9, studies=1, patients=1)
    flow.exclude(["cut short; copy it again", "no DICOM file", "no DICOM file"])
    flow.exclude(["slices 3 and 4 are one", "slices 10 and 11 are one"], "series")
    flow.step("Labelled", cases=4, patients=3)
    flow.split(dataset)
    return flow


def test_text():
    assert (
        flow().text()
        == """\
Found     1,234 files, 9 series, 1 study, 1 patient
    excluded: 3 files, 2 series
     2 files  no DICOM file
    2 series  slices N and N are one
      1 file  cut short
Labelled  4 cases, 3 patients

                             training  validation        test
patients                            2           0           1
cases                               3           0           1
sites                               2           0           0
tumour, positive cases              2           0           0
tumour, negative cases              1           0           1
tumour, positive slices             1           0           0
tumour, negative slices             1           0           0
tumour, unknown slices              1           0           0
oedema, positive cases              1           0           0
oedema, negative cases              1           0           1
oedema, unknown cases               1           0           0
oedema, negative slices             3           0           0
"""
    )


def test_what_is_left_out_last_makes_a_step_of_its_own():
    flow = CohortFlow()
    flow.step("Labelled", cases=2)
    flow.exclude(["empty"], "cases")
    flow.split(PreparedDataset(("a",), training=(case("c1", "p1", 1),)))
    assert flow.text().splitlines()[:4] == [
        "Labelled  2 cases",
        "    excluded: 1 case",
        "           1  empty",
        "Included  1 case, 1 patient",
    ]


@pytest.mark.parametrize(
    ("reason", "group"),
    [
        ("slices 3 and 14 have the same position", "two slices at one position"),
        ("gap of 2.5 mm", "gap of N mm"),
        ("cut short; copy it again", "cut short"),
        ("its rows name several patients: A, B", "its rows name several patients"),
        ("cannot be read (header 7)", "cannot be read"),
        ("", "no reason given"),
    ],
)
def test_like_reasons_are_counted_together(reason, group):
    assert reason_group(reason) == group


def test_json_holds_counts_and_no_names():
    content = json.loads(json.dumps(flow().to_json()))
    assert content["steps"][0]["excluded"] == [
        {"reason": "cut short", "unit": "files", "number": 1},
        {"reason": "no DICOM file", "unit": "files", "number": 2},
        {"reason": "slices N and N are one", "unit": "series", "number": 2},
    ]
    assert content["splits"]["training"]["classes"]["tumour"]["cases"] == {"positive": 2, "negative": 1}
    assert not any(word in json.dumps(content) for word in ("secret", "c1", "p1"))


def boxes(path):
    """Number of boxes, by their fill."""
    page = np.asarray(Image.open(path).convert("RGB")).astype(int)
    rows = [np.flatnonzero(np.diff((page == colour).all(axis=2).any(axis=1).astype(int)) == 1) for colour in _FILLS]
    return [len(starts) for starts in rows]


_FILLS = ((0xEE, 0xF3, 0xF8), (0xFA, 0xF3, 0xE8))  # of steps and splits; of what was left out


def test_picture(tmp_path):
    flow().draw(tmp_path / "flow.png")
    # two steps, one row of splits; one box of what was left out
    assert boxes(tmp_path / "flow.png") == [3, 1]


def test_picture_of_much_text_keeps_inside_the_page(tmp_path):
    labels = tuple(f"a_class_with_a_very_long_name_without_a_space_{k}" for k in range(17))
    flow = CohortFlow()
    flow.step("Found", files=10**9, series=10**9, studies=10**9, patients=10**9)
    flow.exclude([f"{'reason ' * 12}{chr(97 + i)}" for i in range(9)])
    flow.split(PreparedDataset(labels, training=(case("c", "p", *[1] * 17, slices=((1,) * 17,)),)))
    flow.draw(tmp_path / "flow.png")
    page = np.asarray(Image.open(tmp_path / "flow.png").convert("L"))
    assert (page[:, :45] == 255).all() and (page[:, -45:] == 255).all()
    assert (page[-45:] == 255).all() and page.shape[0] < 6000


def test_an_empty_flow_is_drawn(tmp_path):
    CohortFlow().draw(tmp_path / "flow.png")
    assert CohortFlow().text() == "\n"
    assert (tmp_path / "flow.png").exists()
