"""Rules that choose among series, such as "Modality=MR, SeriesDescription~FLAIR"."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from monai_wsss.data.volume import SeriesTags, Volume, VolumeHeader
from monai_wsss.errors import InputError

_CONDITION = re.compile(r"\s*(\w+)\s*(!=|!~|>=|<=|=|~)\s*(.*?)\s*", re.DOTALL)
_NO_TAGS = SeriesTags()
_SHOWN = 8  # kinds of series in a message


def _tag(name: str) -> Callable[[Volume], str]:
    return lambda volume: getattr(volume.tags or _NO_TAGS, name)


_FIELDS: dict[str, Callable[[Volume], str | float]] = {
    "Modality": _tag("modality"),
    "SeriesDescription": _tag("series_description"),
    "StudyDescription": _tag("study_description"),
    "ProtocolName": _tag("protocol"),
    "SeriesNumber": _tag("series_number"),
    "ImageType": _tag("image_type"),
    "BodyPart": _tag("body_part"),
    "Manufacturer": _tag("manufacturer"),
    "Model": _tag("model"),
    "plane": _tag("plane"),
    "part": _tag("part"),
    "slices": lambda volume: volume.header.shape[2],
    "spacing": lambda volume: volume.header.spacing[2],
    "kind": lambda volume: volume.kind,
    "file": lambda volume: volume.relative.as_posix(),
}
_NAMES = {name.lower(): name for name in _FIELDS} | {
    "bodypartexamined": "BodyPart",
    "manufacturermodelname": "Model",
    "protocol": "ProtocolName",
}


@dataclass(frozen=True)
class _Condition:
    """One comparison; the values are alternatives, in lower case."""

    field: str
    operator: str
    values: tuple[str, ...]

    def fits(self, volume: Volume) -> bool:
        found = _FIELDS[self.field](volume)
        if self.operator in (">=", "<="):
            number = _number(str(found))
            limit = float(self.values[0])
            return number is not None and (number >= limit if self.operator == ">=" else number <= limit)
        text = str(found).lower()
        if self.operator in ("=", "!="):
            return any(_equal(text, value) for value in self.values) == (self.operator == "=")
        return any(value in text for value in self.values) == (self.operator == "~")


@dataclass(frozen=True)
class SeriesRule:
    """Conditions that a volume must all meet.

    Attributes:
        text: as the user wrote it.
        conditions: the parsed text.
    """

    text: str
    conditions: tuple[_Condition, ...]

    @classmethod
    def parse(cls, text: str) -> SeriesRule:
        """Parse conditions `FIELD OPERATOR VALUE`, separated by commas.

        Operators, all blind to case: `=` equal, `!=` not equal, `~` contains, `!~` does not contain, `>=` and `<=` for
        numbers. `a|b` means either value. A value in double quotes may hold commas. `spacing` is mm between slices.

        Raises:
            InputError: no condition, an unknown field, a number that is none.
        """
        parts = [part for part in re.findall(r'((?:"[^"]*"|[^,"])+)', text) if part.strip()]
        if not parts or text.count('"') % 2:
            raise InputError(f'series rule "{text}": give conditions such as "Modality=MR, SeriesDescription~FLAIR"')
        return cls(text.strip(), tuple(_parse(part) for part in parts))

    def fits(self, volume: Volume) -> bool:
        """Whether the volume meets every condition."""
        return all(condition.fits(volume) for condition in self.conditions)

    def choose(self, volumes: Sequence[Volume]) -> list[Volume]:
        """Return the volumes that fit.

        Raises:
            InputError: if there are volumes and none fits; the message lists what there is.
        """
        chosen = [volume for volume in volumes if self.fits(volume)]
        if volumes and not chosen:
            raise InputError(f"no series fits the rule {self}; there are: {'; '.join(candidates(volumes)[:_SHOWN])}")
        return chosen

    def uses(self, field: str) -> bool:
        """Whether a condition asks for this field."""
        return any(condition.field == field for condition in self.conditions)

    def __str__(self) -> str:
        return self.text


def candidates(volumes: Iterable[Volume]) -> list[str]:
    """Return a line for each kind of volume, most frequent first; nothing in it tells who the patients are.

    Such as `9 x MR "FLAIR ax" axial, 20-28 slices, 0.9 x 0.9 x 5 mm`.
    """
    kinds: dict[tuple[str, ...], list[Volume]] = {}
    for volume in volumes:
        tags = volume.tags or _NO_TAGS
        name = tags.series_description or tags.protocol
        kind = (tags.modality or volume.kind, f'"{name}"' if name else "", tags.plane, tags.part)
        kinds.setdefault(kind, []).append(volume)
    lines = []
    for (modality, name, plane, part), alike in sorted(kinds.items(), key=lambda kind: (-len(kind[1]), kind[0])):
        what = " ".join(filter(None, (modality, name, plane)))
        headers = [volume.header for volume in alike]
        lines.append(
            f"{len(alike)} x " + ", ".join(filter(None, (what, part, size_text(headers), spacing_text(headers))))
        )
    return lines


def size_text(headers: Sequence[VolumeHeader]) -> str:
    """Return the number of slices of one or more volumes, such as `20-28 slices`; of single images their pixels."""
    slices = [header.shape[2] for header in headers]
    if max(slices) > 1:
        return f"{_range(slices)} slices"
    return " x ".join(_range([header.shape[axis] for header in headers]) for axis in (0, 1)) + " pixels"


def spacing_text(headers: Sequence[VolumeHeader]) -> str:
    """Return the voxel size of one or more volumes, such as `0.4-0.9 x 0.4-0.9 x 5 mm`; empty if unknown."""
    known = [header for header in headers if header.spacing_known]
    axes = 2 if all(header.shape[2] == 1 for header in known) else 3
    return (
        " x ".join(_range([header.spacing[axis] for header in known]) for axis in range(axes)) + " mm" if known else ""
    )


def _range(values: Sequence[float]) -> str:
    ends = [f"{round(value, 2):g}" for value in (min(values), max(values))]
    return "-".join(dict.fromkeys(ends))


def _parse(part: str) -> _Condition:
    match = _CONDITION.fullmatch(part)
    if match is None:
        raise InputError(f'series rule "{part.strip()}": write FIELD=VALUE, or != ~ !~ >= <= in place of =')
    name, operator, value = match.groups()
    field = _NAMES.get(name.lower())
    if field is None:
        raise InputError(f'series rule: no field "{name}"; there are {", ".join(_FIELDS)}')
    values = tuple(alternative.strip().strip('"').lower() for alternative in value.split("|"))
    if operator in (">=", "<=") and (len(values) > 1 or _number(values[0]) is None):
        raise InputError(f'series rule "{part.strip()}": {operator} takes one number')
    return _Condition(field, operator, values)


def _equal(text: str, value: str) -> bool:
    left, right = _number(text), _number(value)
    return text == value if left is None or right is None else left == right


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None
