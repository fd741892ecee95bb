"""Label maps under the user's own names, under hashes, and never shown in clear."""

import pytest
from label_map_files import box, write

from monai_wsss.data.dataset_file import Case, PreparedDataset
from monai_wsss.data.pseudonyms import Pseudonyms, key_beside
from monai_wsss.errors import InputError
from monai_wsss.workflow.evaluation import evaluate, format_table


@pytest.fixture
def prepared(tmp_path):
    """A prepared folder of two cases; the names below, in clear, stand only in the truth folder's file names."""
    names = Pseudonyms.open(tmp_path / "data" / "key")

    def case(uid, *aliases, patient):
        own = names.case(uid)
        return Case(tmp_path / f"{own}.nii.gz", own, patient, (1,), aliases=tuple(names.case(a) for a in aliases))

    cases = case("1.2.3", "DOE_JANE", "ACC77", patient="p1"), case("1.2.4", "ROE_JIM", "ACC77", patient="p1")
    PreparedDataset(("lesion",), test=cases).write(tmp_path / "data")
    return tmp_path / "data", names


def rename(file, case):
    file.rename(file.with_name(file.name.replace(file.name.split(".")[0], case, 1)))


@pytest.mark.parametrize("names", [("DOE_JANE", "ROE_JIM"), ("1.2.3", "1.2.4"), None])
def test_names_in_clear_are_resolved_and_never_shown(simple, prepared, names):
    """Predictions carry hashes, true masks stems, UIDs or hashes; the scores are those of equal names."""
    pred, truth, out = simple
    expected = evaluate(pred, truth, None, patients={"a": "p", "b": "p"})
    data, pseudonyms = prepared
    cases = [pseudonyms.case("1.2.3"), pseudonyms.case("1.2.4")]
    for old, case, name in zip("ab", cases, names or cases, strict=True):
        rename(next(pred.glob(f"{old}.*")), case)
        (truth / f"{old}.nii.gz").rename(truth / f"{name}.nii.gz")
    result = evaluate(pred, truth, out, data=data)
    assert [row["case"] for row in result["per_case"]] == sorted(cases)
    for part in ("patients", "positives", "lesions", "counts"):
        assert result[part] == expected[part], part
    assert result["labels"] == ["lesion"] and result["missing"] == result["unmatched"] == result["skipped"] == []


def test_what_is_wrong_is_said_without_names(simple, prepared):
    pred, truth, out = simple
    data, names = prepared
    jane, jim, other = names.case("1.2.3"), names.case("1.2.4"), names.case("POE_PIA")
    rename(pred / "a.nii.gz", jane)
    rename(pred / "b.nii", jim)
    (truth / "a.nii.gz").rename(truth / "DOE_JANE.nii.gz")
    (truth / "b.nii.gz").rename(truth / "ACC77.nii.gz")  # two cases share the number
    write(truth, "ROE_JIM.nii.gz", box(9, 0))
    write(truth, "POE_PIA.nii.gz", box(2, 0))  # not of this data set
    (truth / "MOE_MIA.nii").write_bytes(b"nothing")
    result = evaluate(pred, truth, out, data=data)
    assert [row["case"] for row in result["per_case"]] == sorted([jane, other])
    assert result["missing"] == [other]
    reasons = {item["file"]: item["reason"] for item in result["skipped"]}
    assert reasons.keys() == {jim, names.case("MOE_MIA"), names.file(truth / "ACC77.nii.gz")}
    assert reasons[jim].startswith("shape (8, 6, 3) differs from the truth's (8, 6, 9)")
    assert "its name means 2 cases" in reasons[names.file(truth / "ACC77.nii.gz")]
    said = out.read_text() + format_table(result)
    for clear in ("JANE", "JIM", "ACC77", "PIA", "MIA", str(truth)):
        assert clear not in said, clear
    for case in reasons:
        assert f"skipped: {case}: " in format_table(result)
    write(truth, "1.2.3.nii.gz", box(4, 1))
    with pytest.raises(InputError, match=f"two files are of the same case {jane}") as raised:
        evaluate(pred, truth, None, data=data)
    assert "JANE" not in str(raised.value)


def test_kept_names_are_shown(simple, prepared):
    pred, truth, _ = simple
    data, _ = prepared
    (data / "key").unlink()
    PreparedDataset(("lesion",), test=(Case(data / "a.nii.gz", "a", "p", (1,), aliases=("ACC1",)),)).write(data)
    (truth / "a.nii.gz").rename(truth / "ACC1.nii.gz")
    write(truth, "b.nii.gz", box(9, 0))
    result = evaluate(pred, truth, None, data=data)
    assert [row["case"] for row in result["per_case"]] == ["a"] and result["per_case"][0]["patient"] == "p"
    assert result["skipped"][0]["file"] == str(pred / "b.nii")


def test_masks_of_infer_are_found_by_the_key_beside_them(simple):
    pred, truth, _ = simple
    expected = evaluate(pred, truth, None)["patients"]
    names = Pseudonyms.open(key_beside(pred))
    lines = ["case,slice,class,probability,voxels"]
    for file in sorted(pred.iterdir()):
        case = names.case(file.name.split(".")[0])
        lines.append(f"{case},0,tumour,0.5,0")
        rename(file, case)
    (pred / "slices.csv").write_text("\n".join(lines), encoding="utf-8")
    result = evaluate(pred, truth, None)
    assert result["patients"] == expected and result["counts"]["missing"] == result["counts"]["unmatched"] == 0
    assert {row["case"] for row in result["per_case"]} == {names.case("a"), names.case("b")}
    assert result["labels"] == ["tumour"] and result["classification"]["slices"] == 2


def test_more_labels_than_a_label_map_holds_are_refused(simple):
    pred, truth, _ = simple
    with pytest.raises(InputError, match="255 labels; label maps hold at most 254, because 255 is void"):
        evaluate(pred, truth, None, labels=[f"c{k}" for k in range(255)])
