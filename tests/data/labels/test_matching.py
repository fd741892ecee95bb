import time
from pathlib import Path

import numpy as np
import pytest

from monai_wsss.data.discovery import find_volumes
from monai_wsss.data.labels.labels_table import LabelsTable, Row, read_labels_table
from monai_wsss.data.labels.matching import match_rows
from monai_wsss.data.volume import SeriesTags, Volume, VolumeHeader
from monai_wsss.errors import InputError

SHARED = Path(__file__).parents[3] / "../shared/data"
HEADER = VolumeHeader((4, 4, 2), np.eye(4), (1.0, 1.0, 1.0))


def nifti(*files):
    return [Volume((Path("/in") / f,), Path(f), f, HEADER) for f in files]


def dicom(case, folder=None, depth=2, **tags):
    """A series of `depth` files i0.dcm, i1.dcm, ...; its objects are called case.0, case.1, ..."""
    folder = folder or case
    instances = tuple(f"{case}.{k}" for k in range(depth))
    tags = SeriesTags(instances=instances, instance_numbers=tuple(range(depth, 0, -1)), **tags)
    files = tuple(Path("/in") / folder / f"i{k}.dcm" for k in range(depth))
    header = VolumeHeader((4, 4, depth), np.eye(4), (1.0, 1.0, 1.0))
    return Volume(files, Path(folder) / (files[0].name if depth == 1 else ""), case, header, "dicom", tags)


def as_table(rows, **common):
    rows = [
        Row(n, keys, (1,), **({"patient": keys.get("PatientID", "")} | common | more))
        for n, (keys, more) in enumerate(rows)
    ]
    return LabelsTable(Path("t.csv"), ("x",), tuple(rows), slice_key=common.get("slice_key", ""))


def lines(rows):
    return [row.line for row in rows]


def match(keys, volumes, **common):
    """Match rows of these keys: (key, case -> lines, without file, ambiguous, contradicting)."""
    copy = common.pop("copy_to_all", False)
    m = match_rows(as_table([(k, {}) for k in keys], **common), volumes, copy)
    rows = {case: lines(found) for case, found in m.rows.items()}
    return m.key, rows, lines(m.rows_without_file), lines(m.ambiguous_rows), lines(m.contradicting_rows)


@pytest.mark.parametrize("name", ["d/a.nii.gz", "a.nii.gz", "a", "images/d/a.nii.gz", "d\\a.nii.gz"])
def test_file_by_path_name_or_stem(name):
    m = match_rows(as_table([({"file": name}, {})]), nifti("d/a.nii.gz", "b.nii"))
    assert m.key == "file" and list(m.rows) == ["d/a.nii.gz"] and [v.case for v in m.volumes_without_row] == ["b.nii"]


@pytest.mark.parametrize("key", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID", "AccessionNumber", "ID"])
@pytest.mark.parametrize("file", ["1.2.3.nii.gz", "1.2.3/flair.nii", "site/1.2.3/mr/flair.nii"])
def test_identifier_by_stem_or_folder(key, file):
    assert match([{key: "1.2.3"}, {key: "9"}], nifti(file)) == (key, {file: [0]}, [1], [], [])


TAGS = {"patient": "P1", "study": "1.2", "series": "1.2.3", "accession": "A77"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("PatientID", "P1"),
        ("PatientID", "p1 "),
        ("StudyInstanceUID", "1.2"),
        ("SeriesInstanceUID", "1.2.3"),
        ("AccessionNumber", "A77"),
        ("ID", "A77"),
        ("ID", "P1"),
        ("ID", "x/export"),
    ],
)
def test_identifier_of_the_header(key, value):
    volumes = [dicom("one", "x/export", **TAGS), dicom("two", "x/other", patient="P2", accession="A78")]
    assert match([{key: value}], volumes)[1] == {"one": [0]}


def test_most_specific_column_that_fits_any_file():
    rows = [{"SeriesInstanceUID": "1.2", "PatientID": "P1"}, {"SeriesInstanceUID": "1.3", "PatientID": "P2"}]
    assert match(rows, nifti("P1.nii", "P2.nii"))[:2] == ("PatientID", {"P1.nii": [0], "P2.nii": [1]})
    # by series: the row whose series is not there does not fall back on its patient's other one
    assert match(rows, nifti("P1.nii", "1.3.nii"))[:3] == ("SeriesInstanceUID", {"1.3.nii": [1]}, [0])


def test_each_row_has_its_own_most_specific_key():
    volumes = [dicom("a", accession="A1", series="1.1"), dicom("b", accession="A2", series="1.2")]
    assert match([{"SeriesInstanceUID": "1.1"}, {"AccessionNumber": "A2"}], volumes)[1] == {"a": [0], "b": [1]}


def test_same_file_name_under_each_patient():
    rows = [{"file": "flair.nii", "PatientID": p} for p in ("P1", "P2", "P3")]
    # P3 has no folder: neither P1's nor P2's file is his
    assert match(rows, nifti("P1/flair.nii", "P2/flair.nii")) == (
        "file", {"P1/flair.nii": [0], "P2/flair.nii": [1]}, [2], [], [],
    )  # fmt: skip


def test_a_row_whose_keys_mean_different_volumes_never_matches():
    volumes = [
        dicom("a", patient="P1", accession="A1", series="1.1"),
        dicom("b", patient="P2", accession="A2", series="1.2"),
    ]
    rows = [
        {"AccessionNumber": "A1", "PatientID": "P2"},
        {"SeriesInstanceUID": "1.1", "AccessionNumber": "A2"},
        {"SOPInstanceUID": "a.0", "file": "b/i0.dcm"},
        {"AccessionNumber": "A1", "PatientID": "P1"},
    ]
    assert match(rows, volumes)[1:] == ({"a": [3]}, [], [], [0, 1, 2])


def test_a_volume_that_the_table_calls_otherwise_is_not_meant():
    volumes = [dicom("a", patient="P1", accession="A1")]
    rows = [{"AccessionNumber": "A1", "PatientID": "P1"}, {"AccessionNumber": "A1", "PatientID": "P9"}]
    assert match(rows, volumes)[1:3] == ({"a": [0]}, [1])


def test_pseudonyms_in_the_header_do_not_hinder_and_are_counted():
    volumes = [dicom("a", patient="ANON1", accession="A1"), dicom("b", patient="P2", accession="A2")]
    m = match_rows(as_table([({"AccessionNumber": f"A{n}", "PatientID": f"P{n}"}, {}) for n in (1, 2)]), volumes)
    assert {case: lines(rows) for case, rows in m.rows.items()} == {"a": [0], "b": [1]}
    assert m.other_patients == 1 and m.patients == {"a": "P1", "b": "P2"}


def test_an_accession_with_several_series_is_ambiguous_never_a_silent_copy():
    flair, t1, other = (dicom(c, accession=a) for c, a in (("flair", "A1"), ("t1", "A1"), ("other", "A2")))
    table = as_table([({"AccessionNumber": "A1"}, {}), ({"AccessionNumber": "A2"}, {})])
    m = match_rows(table, [flair, t1, other])
    assert list(m.rows) == ["other"] and lines(m.ambiguous_rows) == [0] and m.candidates == {0: (flair, t1)}
    assert m.volumes_without_row == [flair, t1]
    m = match_rows(table, [flair, t1, other], copy_to_all=True)
    assert {case: lines(rows) for case, rows in m.rows.items()} == {"flair": [0], "t1": [0], "other": [1]}
    m = match_rows(as_table([({"AccessionNumber": "A1"}, {"slice_number": 0})], slice_key="0-based"), [flair, t1], True)
    assert m.rows == {} and lines(m.ambiguous_rows) == [0]  # slice 0 of one is not slice 0 of the other


def test_a_patients_row_and_a_file_name_can_be_ambiguous_too():
    volumes = nifti("P1/a.nii", "P1/b.nii", "P2/a.nii")
    assert match([{"PatientID": "P1"}], volumes)[1:4] == ({}, [], [0])
    assert match([{"PatientID": "P1"}], volumes, copy_to_all=True)[1] == {"P1/a.nii": [0], "P1/b.nii": [0]}
    assert match([{"file": "a"}], volumes, copy_to_all=True)[1:4] == ({}, [], [0])  # one of them is meant
    assert match([{"file": "P1"}], volumes, copy_to_all=True)[1] == {"P1/a.nii": [0], "P1/b.nii": [0]}


def test_other_keys_choose_among_several_series():
    volumes = [dicom("flair", accession="A1", series="1.1"), dicom("t1", "x/t1", accession="A1", series="1.2")]
    assert match([{"AccessionNumber": "A1", "file": "x/t1"}], volumes)[1] == {"t1": [0]}


@pytest.mark.parametrize(
    ("asked", "headers", "found", "note"),
    [
        (["123"], ["00123"], {"0": [0]}, True),  # a spreadsheet dropped the zeros
        (["00123"], ["123"], {"0": [0]}, True),
        (["123"], ["123", "00123"], {"0": [0]}, False),
        (["123"], ["0123", "00123"], {}, False),  # which?
        (["123", "0123"], ["00123"], {}, False),
        (["A123"], ["A0123"], {}, False),
        (["0"], ["000"], {"0": [0]}, True),
    ],
)
def test_leading_zeros(asked, headers, found, note):
    volumes = [dicom(str(n), accession=name) for n, name in enumerate(headers)] + [dicom("z", accession="Z")]
    m = match_rows(as_table([({"AccessionNumber": name}, {}) for name in [*asked, "Z"]]), volumes)
    assert {case: lines(rows) for case, rows in m.rows.items() if case != "z"} == found
    text = "Leading zeros that the table lacks are put back in 1 value of AccessionNumber"
    assert m.notes == [text] * note


def test_one_spelling_a_patient():
    volumes = [dicom("a", accession="A", patient="00123"), *nifti("b.nii", "c.nii", "sub-07/d.nii", "e.nii")]
    rows = [
        {"AccessionNumber": "A", "PatientID": "123"},
        {"file": "b", "PatientID": "0123"},
        {"file": "c", "PatientID": "p1"},
    ]
    m = match_rows(as_table([(keys, {}) for keys in [*rows, {"file": "d"}, {"file": "e"}]]), volumes)
    expected = {"a": "00123", "b.nii": "00123", "c.nii": "p1", "sub-07/d.nii": "sub-07", "e.nii": "e.nii"}
    assert m.patients == expected
    assert {case: [row.patient for row in rows] for case, rows in m.rows.items()}["b.nii"] == ["00123"]


def slices(rows, volumes, key):
    m = match_rows(as_table(rows, slice_key=key), volumes)
    return {case: [row.slice for row in found] for case, found in m.rows.items()}, m


def test_slices_by_each_convention():
    volumes = [dicom("a", patient="P", depth=3)]  # InstanceNumber 3, 2, 1 in slice order
    numbered = [({"PatientID": "P"}, {"slice_number": n}) for n in (1, 2)]
    assert slices(numbered, volumes, "0-based")[0] == {"a": [1, 2]}
    assert slices(numbered, volumes, "1-based")[0] == {"a": [0, 1]}
    assert slices(numbered, volumes, "InstanceNumber")[0] == {"a": [2, 1]}
    objects = [({"SOPInstanceUID": f"a.{n}"}, {}) for n in (2, 0)]
    assert slices(objects, volumes, "SOPInstanceUID")[0] == {"a": [2, 0]}
    files = [({"file": "a/i2.dcm"}, {}), ({"file": "i1.dcm"}, {})]
    assert slices(files, volumes, "")[0] == {"a": [2, 1]}
    assert slices([({"file": "b.nii"}, {})], nifti("b.nii"), "")[0] == {"b.nii": [None]}


def test_rows_of_slices_that_do_not_exist_are_named_without_a_name():
    volumes = [dicom("a", patient="SECRET", depth=3)]
    rows = [({"PatientID": "SECRET"}, {"slice_number": n}) for n in (0, 7)]
    found, m = slices(rows, volumes, "0-based")
    assert found == {"a": [0]} and m.outside == ["line 1: slice 7 (0-based) is not in the volume of 3 slices"]
    both = [({"PatientID": "SECRET", "file": "i1.dcm"}, {"slice_number": n}) for n in (0, 1)]
    found, m = slices(both, volumes, "0-based")
    assert found == {"a": [1]} and m.outside == ["line 0: its file is another slice than it says"]


@pytest.mark.parametrize(
    ("number", "key", "message"),
    [
        (1, "InstanceNumber", r"no row names a slice that its volume has \(line 0: slices are given by InstanceNumber"),
        (2, "0-based", r"seems to count slices from 1 \(line 0 says as many"),
        (0, "1-based", "line 0 says slice 0 where slices count from 1"),
    ],
)
def test_conventions_that_cannot_be_are_refused(number, key, message):
    with pytest.raises(InputError, match=rf"t\.csv: .*{message}"):
        slices([({"file": "a"}, {"slice_number": number})], nifti("a.nii"), key)


def test_notes_on_slices():
    volumes = [dicom("a", depth=3), dicom("b", depth=3)]
    _, m = slices([({"file": "a"}, {"slice_number": 1})], volumes, "0-based")
    against = "In 1 of 1 volumes the InstanceNumbers do not rise with the position by which slices are counted; "
    assert m.notes == [  # the helper's numbers fall
        against + "if the table holds the viewer's numbers, give --slice-key InstanceNumber",
        "No row says slice 0; if the table counts from 1, give --slice-key 1-based",
    ]
    _, m = slices([({"SOPInstanceUID": f"{case}.0"}, {}) for case in "ab"], volumes, "SOPInstanceUID")
    assert m.notes == ["Each volume has one row, which names one of its images: its labels are that slice's alone"]


def test_rows_of_one_file_stay_in_order():
    rows = [
        ({"file": "a"}, {"slice_number": 1}),
        ({"file": "b"}, {"slice_number": 0}),
        ({"file": "a"}, {"slice_number": 0}),
    ]
    m = match_rows(as_table(rows, slice_key="0-based"), nifti("a.nii", "b.nii"))
    assert {case: lines(found) for case, found in m.rows.items()} == {"a.nii": [0, 2], "b.nii": [1]}


def test_chexpert_and_mimic_trees():
    files = [f"train/patient0000{p}/study1/view1_frontal.jpg" for p in (1, 2)]
    path = "CheXpert-v1.0/train/patient0000{}/study1/view1_frontal.jpg"
    table = as_table([({"file": path.format(p)}, {"patient": f"patient0000{p}"}) for p in (1, 2, 3)])
    m = match_rows(table, nifti(*files))
    assert {case: lines(rows) for case, rows in m.rows.items()} == {files[0]: [0], files[1]: [1]}
    assert lines(m.rows_without_file) == [2] and list(m.patients.values()) == ["patient00001", "patient00002"]
    alone = as_table([({"file": path.format(3)}, {"patient": "patient00003"})])
    with pytest.raises(InputError, match="no row matches a file"):  # the one file there is another patient's
        match_rows(alone, nifti("b.nii"))
    assert match_rows(alone, nifti(files[0])).rows == {}
    mimic = nifti("files/p10/p10000032/s50414267/02aa-7b.jpg", "files/p10/p10000032/s53189527/2a2277a9.jpg")
    rows = [
        {"StudyInstanceUID": "50414267", "PatientID": "10000032"},
        {"StudyInstanceUID": "53189527", "PatientID": "10000032"},
    ]
    assert list(match(rows, mimic)[1].values()) == [[0], [1]]


def test_no_match_at_all_is_an_error_that_shows_what_both_sides_look_like_and_no_name():
    with pytest.raises(
        InputError, match=r"t\.csv: no row matches a file \(PatientID looks like aaaaa9 in the table, and fi"
    ):
        match([{"PatientID": "Meier1"}], nifti("Schulze.nii"))
    with pytest.raises(InputError, match=r"AccessionNumber looks like 99 in the table, in the headers like a-999\)"):
        match([{"AccessionNumber": "77"}], [dicom("a", accession="X-123")])


@pytest.mark.parametrize(
    ("folder", "table", "key", "cases", "patients"),
    [
        ("cxr_nih/dicom", "cxr_nih/labels.csv", "file", 521, 340),
        ("lgg_mri/images", "lgg_mri/slice_labels.csv", "PatientID", 40, 40),
    ],
)
def test_shared_data_match_whole(folder, table, key, cases, patients):
    if not (SHARED / folder).is_dir():
        pytest.skip(f"shared/data/{folder} is not there")
    volumes, skipped = find_volumes(SHARED / folder)
    m = match_rows(read_labels_table(SHARED / table), volumes)
    assert (m.key, len(m.rows), len(set(m.patients.values())), m.other_patients) == (key, cases, patients, 0)
    assert not (skipped or m.rows_without_file or m.ambiguous_rows or m.contradicting_rows or m.outside or m.notes)


@pytest.mark.parametrize("seed", range(20))
def test_a_row_goes_where_a_plain_search_through_the_headers_goes(seed):
    rng = np.random.default_rng(seed)
    names = {"PatientID": "patient", "AccessionNumber": "accession", "SeriesInstanceUID": "series"}
    values = [[f"{tag[0]}.{n}" for n in rng.integers(0, 4, 12)] for tag in names.values()]
    volumes = [
        dicom(f"c{n}", **dict(zip(names.values(), v, strict=True))) for n, v in enumerate(zip(*values, strict=True))
    ]
    rows = []
    for _ in range(40):
        chosen = rng.random(3) < 0.7
        chosen[rng.integers(3)] = True
        known = {key: column[rng.integers(12)] for key, column in zip(names, values, strict=True)}
        rows.append({key: known[key] for key, taken in zip(names, chosen, strict=True) if taken})
    _, matched, missing, ambiguous, contradicting = match(rows, volumes)
    found = [
        [v.case for v in volumes if all(getattr(v.tags, names[key]) == value for key, value in row.items())]
        for row in rows
    ]
    one = {line: cases[0] for line, cases in enumerate(found) if len(cases) == 1}
    assert {line: case for case, of in matched.items() for line in of} == one and missing == []
    assert ambiguous == [line for line, cases in enumerate(found) if len(cases) > 1]
    assert contradicting == [line for line, cases in enumerate(found) if not cases]


def test_many_rows_and_volumes_take_no_time_that_grows_with_their_product():
    def seconds(size):
        volumes = [dicom(f"c{n}", f"P{n:05d}/s", 1, patient=f"{n:08d}", accession=f"{n:09d}") for n in range(size)]
        rows = [
            {"file": "i0.dcm", "PatientID": str(n % (size + 10)), "AccessionNumber": str(n % size)}
            for n in range(4 * size)
        ]
        table = as_table([(keys, {}) for keys in rows])
        start = time.process_time()
        assert len(match_rows(table, volumes).rows) > 0.9 * size
        return time.process_time() - start

    small, large = (min(seconds(size) for _ in range(3)) for size in (250, 1000))  # the least disturbed of three
    assert large < 10 * small  # 16 times as long if every row looked at every volume


@pytest.mark.parametrize(("file", "slice_"), [("i0", 0), ("i1", 1), ("i2", 3)])
def test_a_file_of_a_resampled_series_is_its_slice_of_the_grid(file, slice_):
    """Three files on a grid of four slices: the third was inserted between the second and the third file."""
    tags = SeriesTags(instances=("1.1", "1.2", "", "1.3"), instance_numbers=(1, 2, None, 3))
    header = VolumeHeader((4, 4, 4), np.eye(4), (1.0, 1.0, 1.0))
    files = tuple(Path(f"/in/s/i{k}.dcm") for k in range(3))
    series = Volume(files, Path("s"), "s", header, "dicom", tags, resample=True)
    more = {"slice_number": int(file[1]), "slice_key": "0-based"}  # both count files
    m = match_rows(as_table([({"file": f"s/{file}.dcm"}, {}), ({"file": f"s/{file}.dcm"}, more)]), [series])
    assert [row.slice for row in m.rows["s"]] == [slice_, slice_] and m.outside == []
