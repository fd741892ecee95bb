import pytest

from benchmarks.rows.film_boxes import film_size, read_boxes
from monai_wsss.data import PreparedDataset
from monai_wsss.errors import InputError

HEAD = "file,x,y,width,height\n"


def table(tmp_path, *lines, head=HEAD):
    path = tmp_path / "boxes.csv"
    path.write_text(head + "\n".join(lines) + "\n")
    return path


def test_literal(films, tmp_path):
    path = table(tmp_path, "F00.png,1,2,10.5,20", "F03,5,6,7,8", "F00.png,0,0,48,40")
    found = {case: boxes.tolist() for case, boxes in read_boxes(path, films.data).items()}
    assert found == {"F00": [[1, 2, 11.5, 22], [0, 0, 48, 40]], "F03": [[5, 6, 12, 14]]}


def test_columns_come_first(films):
    case = PreparedDataset.read(films.data).cases()[0]
    assert film_size(case) == films.size == (48, 40)


@pytest.mark.parametrize(
    ("lines", "match"),
    [
        (["F99.png,1,2,3,4"], "line 2: no film of this name"),
        (["F00.png,1,2,3,4", "F01.png,45,2,8,4"], "line 3: the box is not inside the film"),  # x + width = 53 > 48
        (["F00.png,2,45,3,4"], "not inside"),  # y beyond 40 rows, within 48 columns
        (["F00.png,-5,2,8,4"], "not inside"),
        (["F00.png,1,2,0,4"], "not inside"),
        (["F00.png,1,2,,4"], "not inside"),
        (["F00.png,1,two,3,4"], "must be numbers"),
    ],
)
def test_bad_lines_are_refused(films, tmp_path, lines, match):
    with pytest.raises(InputError, match=match):
        read_boxes(table(tmp_path, *lines), films.data)


def test_bad_tables_are_refused(films, tmp_path):
    with pytest.raises(InputError, match="has no column width"):
        read_boxes(table(tmp_path, "F00.png,1,2,3,4", head="file,x,y,w,h\n"), films.data)
    with pytest.raises(InputError, match="cannot be read"):
        read_boxes(tmp_path / "nowhere.csv", films.data)


def test_rounding_may_reach_a_pixel_beyond_the_film(films, tmp_path):
    assert read_boxes(table(tmp_path, "F00.png,40,2,8.9,4"), films.data)["F00"].tolist() == [[40, 2, 48.9, 6]]
