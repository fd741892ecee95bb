from pathlib import Path

import pytest

from monai_wsss.data.case_resolver import CaseResolver
from monai_wsss.data.dataset_file import Case, PreparedDataset
from monai_wsss.data.pseudonyms import Pseudonyms
from monai_wsss.errors import InputError

HASHED, CLEAR = Pseudonyms(bytes(range(32))), Pseudonyms(None)


def cases(names):
    """a: scan A of accession X; b: scan B of accession X."""

    def aliases(name):
        return tuple(names.case(alias) for alias in (f"scan {name}", "X", f"own {name}"))

    return [Case(Path(f"{name}.nii.gz"), names.case(name), "p", (1,), aliases=aliases(name)) for name in "ab"]


@pytest.mark.parametrize("names", [HASHED, CLEAR], ids=["hashes", "names"])
def test_own_name_hash_and_aliases_mean_the_case(names):
    resolver = CaseResolver(names, cases(names))
    for name in ("a", "scan a", "own a", names.case("a"), names.case("scan a")):
        assert resolver.case(name) == names.case("a"), name
    assert resolver.case("scan b") == names.case("b")


@pytest.mark.parametrize("names", [HASHED, CLEAR], ids=["hashes", "names"])
def test_a_name_of_two_cases_is_refused_and_not_repeated(names):
    with pytest.raises(InputError, match="its name means 2 cases") as raised:
        CaseResolver(names, cases(names)).case("X")
    assert names.case("a") in str(raised.value) and "X" not in str(raised.value)


def test_an_unknown_name_takes_its_hash_and_an_unknown_hash_stays():
    resolver = CaseResolver(HASHED, cases(HASHED))
    assert resolver.case("new scan") == HASHED.case("new scan")
    assert resolver.case("c0123456789ab") == "c0123456789ab"  # predicted, and of no prepared case
    assert CaseResolver(CLEAR).case("new") == "new"


def test_a_prepared_folder_says_how_its_names_are_made(tmp_path):
    names = Pseudonyms.open(tmp_path / "key")
    PreparedDataset(("lesion",), test=tuple(cases(names))).write(tmp_path)
    assert CaseResolver.of_prepared(tmp_path).case("scan a") == names.case("a")
