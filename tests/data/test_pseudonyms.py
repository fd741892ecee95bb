"""Names that tell nothing, and names that are kept."""

import hashlib
import os
import re
import stat

import pytest

from monai_wsss.data.dataset_file import Case, PreparedDataset
from monai_wsss.data.pseudonyms import Pseudonyms
from monai_wsss.errors import InputError

KEY = bytes(range(32))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_the_key_is_its_owners_alone(tmp_path, umask):
    before = os.umask(umask)
    try:
        Pseudonyms.open(tmp_path / "data" / "key")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "data" / "key").stat().st_mode) == 0o600
    assert [path.name for path in (tmp_path / "data").iterdir()] == ["key"]
    assert re.fullmatch(r"[0-9a-f]{64}\n", (tmp_path / "data" / "key").read_text())


def test_a_key_is_made_once_and_two_are_never_the_same(tmp_path):
    first, again, other = (Pseudonyms.open(tmp_path / name) for name in ("key", "key", "other"))
    assert first.patient("Doe") == again.patient("Doe") != other.patient("Doe")
    assert first.digest("x") == again.digest("x") != other.digest("x")


def test_literal():
    # printf 'p\0Doe' | openssl dgst -sha256 -mac HMAC -macopt hexkey:000102...1f
    assert Pseudonyms(KEY).patient("Doe") == "p955066b796bf"


@pytest.mark.parametrize("kind", ["patient", "case", "site", "file"])
def test_each_kind_of_name_has_hashes_of_its_own(kind):
    names = Pseudonyms(KEY)
    value = getattr(names, kind)("HOSP001")
    assert re.fullmatch(kind[0] + "[0-9a-f]{12}", value)
    assert value not in {getattr(names, other)("HOSP001") for other in {"patient", "case", "site", "file"} - {kind}}
    plain = hashlib.sha256(b"HOSP001").hexdigest()
    assert value[1:] not in plain  # else anybody could look names up


@pytest.mark.parametrize(
    "name", ["", "Müller^Jürgen", "山田^太郎", "a\0b", "\udce9t\udce9.dcm", "x" * 5000, "../../etc"]
)
def test_any_name_has_a_hash_that_can_name_a_file(name):
    assert re.fullmatch("c[0-9a-f]{12}", Pseudonyms(KEY).case(name))


def test_twenty_thousand_names_do_not_meet():
    names = Pseudonyms(KEY)
    assert len({names.case(str(number)) for number in range(20_000)}) == 20_000


@pytest.mark.parametrize(
    ("name", "kept"),
    [
        ("HOSP001", "HOSP001"),
        ("sub-01_ses=2.T1+C@3T", "sub-01_ses=2.T1+C@3T"),
        ("Müller", "Müller"),
        ("a b", "a_b-c8687a08"),  # printf 'a b' | sha256sum
        ("a/b", "a_b-c14cddc0"),
        ("..", "_-5ec1f7e7"),
        ("", "_-e3b0c442"),
    ],
)
def test_kept_names_can_name_a_file(name, kept):
    assert Pseudonyms(None).case(name) == Pseudonyms(None).patient(name) == kept


NASTY = [
    "a b",
    "a_b",
    "a/b",
    "a\\b",
    "a  b",
    "A b",
    "..",
    ".",
    ".a",
    "a",
    "../a",
    "a\0",
    "a\n",
    "",
    "_",
    "-",
    "é",
    "e\u0301",
]


def test_kept_names_stay_apart_and_inside_their_folder(tmp_path):
    names = Pseudonyms.open(tmp_path / "key", keep_names=True)
    assert names.keeps_names and not list(tmp_path.iterdir())  # no key where none is needed
    kept = [names.case(name) for name in [*NASTY, "y" * 300, "y" * 299, "\udce9", "字" * 200]]
    assert len(set(kept)) == len(kept)
    for name in kept:
        (tmp_path / f"{name}.nii.gz").touch()
        assert not name.startswith(".") and not re.search(r"[/\\\s\0]", name)
    assert len(list(tmp_path.iterdir())) == len(kept)
    assert names.file("/in/a b") == "/in/a b" and names.digest("x") == names.digest("x") != names.digest("y")


@pytest.mark.parametrize(
    ("text", "words"), [("", "too short"), ("abcd", "too short"), ("no key", "holds no key"), ("é", "no key")]
)
def test_a_broken_key_is_refused_in_one_line(tmp_path, text, words):
    (tmp_path / "key").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=words) as raised:
        Pseudonyms.open(tmp_path / "key")
    assert "\n" not in str(raised.value) and str(tmp_path / "key") in str(raised.value)
    assert (tmp_path / "key").read_text(encoding="utf-8") == text  # never replaced


def test_a_prepared_folder_has_its_own_names(tmp_path):
    def write(case):
        PreparedDataset(("a",), test=(Case(tmp_path / "i.nii.gz", case, "p", (1,)),)).write(tmp_path)

    write("HOSP001")
    assert Pseudonyms.of_prepared(tmp_path).keeps_names
    write(Pseudonyms.open(tmp_path / "key").case("HOSP001"))
    assert not Pseudonyms.of_prepared(tmp_path).keeps_names
    (tmp_path / "key").unlink()
    with pytest.raises(InputError, match="put the key back"):  # names in clear beside hashes would be a leak
        Pseudonyms.of_prepared(tmp_path)


def test_names_kept_in_a_folder_that_had_hashes_before(tmp_path):
    """`prepare`, then `prepare --keep-names`: the key stays, the cases are clear."""
    hashed = Pseudonyms.open(tmp_path / "key").case("HOSP001")

    def keeps_names(*cases):
        test = tuple(Case(tmp_path / f"{case}.nii.gz", case, "p", (1,)) for case in cases)
        PreparedDataset(("a",), test=test).write(tmp_path)
        return Pseudonyms.of_prepared(tmp_path).keeps_names

    assert [keeps_names("HOSP001"), keeps_names(hashed), keeps_names()] == [True, False, False]
