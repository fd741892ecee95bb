"""Which files of a series are copies of others, and which only look alike."""

from dicom_files import COLUMNS, ROWS, film_tags, slice_tags, write_dicom, write_stack
from dicom_series import parts_of, series_of

from monai_wsss.data.dicom import series as series_module


def test_copies_are_left_out(tmp_path):
    files = write_stack(tmp_path, 3)
    copy = tmp_path / "IM0002 (1)"
    copy.write_bytes(files[1].read_bytes())
    (series,) = series_of(tmp_path)
    assert series.problem == "" and series.files == tuple(files) and series.copies == (copy,)
    files[1].write_bytes(files[1].read_bytes()[:-20])  # the copy is the whole one of the two
    (series,) = series_of(tmp_path)
    assert series.problem == "" and series.files == (files[0], copy, files[2]) and series.copies == (files[1],)


def test_one_uid_for_all_slices_makes_no_copies(tmp_path):
    write_stack(tmp_path, 3, SOPInstanceUID="1.2.3")
    assert parts_of(tmp_path) == [("", 3, "")]


def pixels(value):
    return bytes([value, 0]) * (COLUMNS * ROWS)


def test_one_uid_for_all_films_makes_no_copies(tmp_path):
    """Films of an anonymiser that gave all one UID: equal headers, equal sizes, other pixels."""
    tags = film_tags(SOPInstanceUID="1.2.3", InstanceNumber=None)
    files = [write_dicom(tmp_path / f"f{value}", tags, pixels=pixels(value)) for value in (1, 2, 3)]
    copy = tmp_path / "g"
    copy.write_bytes(files[1].read_bytes())
    found = series_of(tmp_path)
    assert [series.files for series in found] == [(file,) for file in files]
    assert [(series.tags.part, series.problem) for series in found] == [(f"image {k}", "") for k in (1, 2, 3)]
    assert [path for series in found for path in series.copies] == [copy]
    copy.write_bytes(write_dicom(tmp_path / "h", tags, pixels=pixels(4)).read_bytes()[:-20])  # no copy of any but "h"
    assert [path for series in series_of(tmp_path) for path in series.copies] == [copy]
    (tmp_path / "h").unlink()
    assert [series.problem[:9] for series in series_of(tmp_path)] == ["", "", "", "cut short"]


def test_other_slices_of_one_uid_at_one_position_are_refused(tmp_path):
    for value in (1, 2):
        tags = slice_tags(SOPInstanceUID="1.2.3", InstanceNumber=None)
        write_dicom(tmp_path / str(value), tags, pixels=pixels(value))
    assert parts_of(tmp_path) == [("", 2, "slices 1 and 2 have the same position")]


def test_contents_are_read_only_where_headers_and_sizes_are_equal(tmp_path, monkeypatch):
    read, digest = [], series_module._digest
    monkeypatch.setattr(series_module, "_digest", lambda path, size: read.append(path) or digest(path, size))
    files = write_stack(tmp_path / "stack", 3)
    (tmp_path / "stack" / "copy").write_bytes(files[1].read_bytes())
    assert len(series_of(tmp_path)) == 1 and read == []
    film = write_dicom(tmp_path / "film", film_tags(SOPInstanceUID="1.2.3", InstanceNumber=None), pixels=pixels(1))
    (tmp_path / "same").write_bytes(film.read_bytes())
    assert len(series_of(tmp_path)) == 2 and sorted(read) == [film, tmp_path / "same"]


def test_a_slice_exported_twice_in_other_bytes_is_a_copy(tmp_path):
    files = write_stack(tmp_path, 3)
    again = files[1].read_bytes()
    (tmp_path / "again").write_bytes(again[:200].replace(b"\0" * 4, b"\0" * 3 + b"\1", 1) + again[200:])
    (series,) = series_of(tmp_path)
    assert series.problem == "" and len(series.files) == 3 and len(series.copies) == 1
