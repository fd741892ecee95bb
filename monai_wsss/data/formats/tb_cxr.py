"""Montgomery County and Shenzhen Hospital: chest films for tuberculosis, with the label in the file's name."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from monai_wsss.data.atomic import write_table
from monai_wsss.data.formats.native_format import NativeData
from monai_wsss.data.groups import join_groups
from monai_wsss.data.picture import PICTURE_SUFFIXES, read_picture, read_picture_header
from monai_wsss.data.skipped import Skipped
from monai_wsss.data.tree import walk_files
from monai_wsss.errors import InputError

CLASS = "tuberculosis"
SITES = {"mcucxr": "montgomery", "chncxr": "shenzhen"}
"""By how the names of their films begin."""

_NAME = re.compile(r"(?P<prefix>mcucxr|chncxr)_(?P<number>\d+)_(?P<label>[01])(?P<rest>_.+)?")
_OUTLINES = "annotations"  # folder of Shenzhen's outlined lesions; what "Annotations-2" holds is described nowhere
_MAX_BYTES = 1 << 16  # of a reading; they have some hundred

# "Patient's Sex: F", "Patient's Age: 027Y" of Montgomery; "male 45yrs", "female24yrs", "femal , 64days" of Shenzhen
_PERSON = re.compile(
    r"patient.s[ \t]+(?:sex|age):[ \t]*\w*|\b(?:fe)?male?[\s,]*\d+[ \t]*(?:(?:yr|year|month|day)s?\b)?", re.IGNORECASE
)
_SAME_PERSON = re.compile(r"\bsame\s+(?:pt|patient)\b", re.IGNORECASE)  # "NO REPORT (same pt as MCUCXR_0162_1)"
_NORMAL = ({"normal"}, {"normale"})
_OPEN = {"normal", "normale", "no", "not", "without", "clear", "negative"}  # a word of these beside others


@dataclass(frozen=True)
class _Film:
    path: Path
    site: str
    number: str
    label: int

    @property
    def patient(self) -> str:
        return f"{self.site} {self.number}"


@dataclass
class _Found:
    """What lies below the folder, by the stem of the film in lower case."""

    films: dict[str, _Film] = field(default_factory=dict)
    readings: dict[str, Path] = field(default_factory=dict)
    outlines: dict[str, list[Path]] = field(default_factory=dict)
    others: list[Path] = field(default_factory=list)
    copies: int = 0


def read_tb_cxr(input: Path, labels: Path | None, scratch: Path) -> NativeData:
    """Write labels.csv, and masks/ where lesions are outlined, for the films of one site or both; see `NativeFormat`.

    `MCUCXR_0001_0.png` is a normal film of Montgomery, `CHNCXR_0327_1.png` one of Shenzhen with tuberculosis. The
    column `site` says which, for `--leave-out-site`. A clinical reading (`ClinicalReadings/<film>.txt`) that says the
    contrary makes the label unknown; it is the contrary only if it is "normal" and nothing else, or holds no word like
    normal, no, not or clear. Films of which a reading says "same pt as" are one patient.

    Pictures below a folder with "mask" in its name are masks of lungs: neither images nor truth. A film's true mask is
    the union of `Annotations/masks/<film>_<abnormality>_<number>.png`, which exist for Shenzhen. At a site with such
    outlines a normal film has an empty mask; a film with tuberculosis and no outline has none, and is listed.

    Args:
        input: folder that holds `MontgomerySet`, `ChinaSet_AllFiles` or both, or one of these.
        labels: None, the names are the labels.
        scratch: folder to write into.

    Raises:
        InputError: a table of labels, or no film below `input`.
    """
    if labels is not None:
        raise InputError(f"{labels}: --format tb-cxr takes the labels from the films' names; leave --labels out")
    found = _search(input)
    films = [found.films[stem] for stem in sorted(found.films)]
    texts = {stem: text for stem, path in found.readings.items() if stem in found.films and (text := _text(path))}
    says = {found.films[stem]: _verdict(text) for stem, text in texts.items()}
    clear = {film: said for film, said in says.items() if said is not None}
    values = {film: sorted({film.label, clear.get(film, film.label)}) for film in films}
    person = join_groups(_persons(found.films, texts))
    images = Path(os.path.commonpath([film.path.parent for film in films]))
    write_table(
        scratch / "labels.csv",
        ("file", "patient", "site", CLASS),
        [
            (film.path.relative_to(images).as_posix(), person[film.patient], film.site, value)
            for film in films
            for value in values[film]  # both, where name and reading contradict each other: `prepare` makes it unknown
        ],
    )
    outlined = {film.site for stem, film in found.films.items() if stem in found.outlines}
    problems = []
    for stem, film in found.films.items():
        if film.site not in outlined:
            continue
        path = scratch / "masks" / f"{film.path.stem}.png"  # flat: the films' folder would be a name, see `find_truth`
        try:
            _write_mask(path, film, found.outlines.get(stem, ()), values[film] == [0])
        except ValueError as error:
            problems.append(Skipped(str(film.path), str(error)))
    return NativeData(
        images,
        scratch / "labels.csv",
        scratch / "masks" if outlined else None,
        (CLASS,),
        mask_problems=tuple(problems),
        exclude=(*found.others, *(path for several in found.outlines.values() for path in several)),
        notes=tuple(_notes(found, says, films, outlined)),
    )


def _search(input: Path) -> _Found:
    if not input.is_dir():
        raise InputError(f"{input}: no such folder; give the folder that holds MontgomerySet or ChinaSet_AllFiles")
    found = _Found()
    for path in sorted(walk_files(input), key=lambda path: (len(path.parts), path)):
        match = _NAME.fullmatch(stem := path.stem.casefold())
        if match is None:
            continue
        folders = [part.casefold() for part in path.relative_to(input).parts[:-1]]
        if path.suffix.lower() == ".txt" and not match["rest"]:
            found.readings.setdefault(stem, path)
        elif path.suffix.lower() not in PICTURE_SUFFIXES:
            continue
        elif _OUTLINES in folders and match["rest"]:
            found.outlines.setdefault(stem.removesuffix(match["rest"]), []).append(path)
        elif match["rest"] or any("mask" in name for name in folders):
            found.others.append(path)
        elif stem in found.films:
            found.copies += 1
        else:
            found.films[stem] = _Film(path, SITES[match["prefix"]], match["number"], int(match["label"]))
    if not found.films:
        raise InputError(f"{input}: no film MCUCXR_0001_0.png or CHNCXR_0001_0.png in it; unpack the data set there")
    return found


def _text(path: Path) -> str:
    """Return a reading; "" if it cannot be read."""
    try:
        with path.open("rb") as file:
            return file.read(_MAX_BYTES).decode("utf-8", "replace")
    except OSError:
        return ""


def _verdict(text: str) -> int | None:
    """Return what a reading says: 0 normal, 1 abnormal, None if that takes a reader."""
    words = set(re.findall(r"[^\W\d_]+", _PERSON.sub(" ", text).casefold()))
    return 0 if words in _NORMAL else None if not words or words & _OPEN else 1


def _persons(films: dict[str, _Film], texts: dict[str, str]) -> Iterable[tuple[str, str | None]]:
    """Yield patient and link, see `join_groups`: a film, and the films of its site that its reading calls the same."""
    for stem, film in films.items():
        yield film.patient, film.patient
        text = texts.get(stem, "")
        if match := _SAME_PERSON.search(text):
            for number in re.findall(r"(?<!\d)\d{4}(?!\d)", text[match.end() :]):
                yield film.patient, f"{film.site} {number}"


def _write_mask(path: Path, film: _Film, outlines: Sequence[Path], normal: bool) -> None:
    """Write the union of the outlines as grey values 0 and 1; raises ValueError with the reason if there is none."""
    if not outlines and not normal:
        raise ValueError("no lesion is outlined for it")
    try:
        shape = read_picture_header(film.path).shape
        mask = np.zeros(shape, bool)
        for outline in outlines:
            values = read_picture(outline)[0]
            if values.shape != shape:
                raise ValueError("an outline is of another size than the film")
            mask |= values > 0
    except InputError as error:
        raise ValueError("the film or an outline of it cannot be read") from error
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(mask[..., 0].T.astype(np.uint8)).save(path, compress_level=1)  # a PNG lists rows


def _notes(found: _Found, says: dict[_Film, int | None], films: Sequence[_Film], outlined: set[str]) -> Iterable[str]:
    silent = sum(film not in says for film in films)
    if silent:
        yield f"Clinical readings (ClinicalReadings/) are missing for {silent} of {len(films)} films"
    if unclear := sum(said is None for said in says.values()):
        yield f"{unclear} of {len(says)} clinical readings say neither normal nor abnormal: the film's name counts"
    if against := sum(said is not None and said != film.label for film, said in says.items()):
        yield f"{against} of {len(says)} clinical readings contradict the film's name: label unknown"
    if others := len(found.others):
        yield f"{others} pictures are masks of lungs or further annotations, no films and no lesions: left out"
    if found.copies:
        yield f"{found.copies} further copies of films left out"
    for site in sorted({film.site for film in films} - outlined):
        yield f"No lesions are outlined at site {site}: masks of it cannot be scored"
