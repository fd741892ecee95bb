"""Which methods a table of accuracy compares: one, or those of a methods file (YAML)."""

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml
from monai.utils.misc import CheckKeyDuplicatesYamlLoader

from benchmarks.rows.row_names import AFTER, EXTRAS, METHOD, STEPS, TRIVIAL, UNGATED
from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import check_ids
from monai_wsss.workflow.bundle_freeze import overlay_values

CLASSIFIERS = "classifiers"
LAYOUTS = ("accuracy", "segmenters", "masks", CLASSIFIERS)
_TABLE_KEYS = ("title", "layout", "base", "overlays", "methods", "rows")
_METHOD_KEYS = ("bundle", "overlays", "set", "until", "rows")


@dataclass(frozen=True)
class Method:
    """A bundle with settings.

    Attributes:
        name: as the table calls it; empty where it is the only one.
        bundle: bundle folder.
        overlays: the bundle's overlays.
        values: ids set over them.
        until: last stage; None runs all.
        rows: its rows that the table shows, keys of `STEPS`; None shows all.
    """

    name: str
    bundle: Path
    overlays: tuple[str, ...] = ()
    values: Mapping[str, Any] = field(default_factory=dict)
    until: str | None = None
    rows: tuple[str, ...] | None = None

    @property
    def slug(self) -> str:
        """The name as a folder's."""
        return re.sub(r"[^a-z0-9]+", "_", self.name.lower()).strip("_")


@dataclass(frozen=True)
class Methods:
    """What a table compares.

    Attributes:
        methods: in the table's order; what is made once a table is made with the first.
        rows: trivial rows and extra ones; None takes all that the first method's stages allow.
        base: the method that the others are compared with.
        title: of the table.
        layout: its columns, one of `LAYOUTS`.
    """

    methods: tuple[Method, ...]
    rows: tuple[str, ...] | None = None
    base: str = ""
    title: str = ""
    layout: str = LAYOUTS[0]

    @property
    def of_base(self) -> Method:
        """The method whose last row the others are compared with."""
        return self.by_name(self.base or self.methods[0].name)

    @property
    def classifies(self) -> bool:
        """Whether the table is of classifiers, so that there are no masks."""
        return self.layout == CLASSIFIERS

    @property
    def wants_trivial(self) -> bool:
        """Whether any row without training is to be made."""
        return not self.classifies and (self.rows is None or bool(set(TRIVIAL) & set(self.rows)))

    def by_name(self, name: str) -> Method:
        """The method of this name."""
        return next(method for method in self.methods if method.name == name)

    def extras(self, method: Method) -> list[str]:
        """Keys of the extra rows that are made with a method: those of the table with the first, `ungated` with any."""
        own = ["ungated"] if "ungated" in (method.rows or ()) else []
        if method is not self.methods[0] or self.classifies:
            return own
        if self.rows is not None:
            return [key for key in self.rows if key not in TRIVIAL] + own
        known = [key for key in AFTER if not method.name or key != "ungated"]
        return own if method.until else known + own

    def shown(self, method: Method, made: Sequence[str], steps: Sequence[str]) -> dict[str, str]:
        """Step -> row of the table, of what was made with a method.

        Args:
            method: one of the table's.
            made: names of all rows that were made with it.
            steps: those that are its own steps.

        Raises:
            InputError: the methods file names a row that the method does not make.
        """
        own = [*steps, *(name for name in made if name == UNGATED)]
        wanted = own if method.rows is None else [EXTRAS.get(row, row) for row in method.rows]
        if lacking := [row for row in wanted if row not in own]:
            raise InputError(f"{method.name}: makes no row '{lacking[0]}'; it makes {', '.join(own) or 'none'}")
        trivial = TRIVIAL if self.rows is None else self.rows
        rows = {}
        for step in made:
            if step in wanted:
                called = method.name if step == METHOD else f"{method.name}: {step}"
                rows[step] = called if method.name else step
            elif step not in own and (step not in TRIVIAL or step in trivial):
                rows[step] = step
        return rows

    def described(self) -> dict[str, Any]:
        """What a table says of a methods file; nothing of a single method."""
        if not self.title and not self.methods[0].name:
            return {}
        described = {
            method.name: {
                "bundle": method.bundle.name,
                "overlays": list(method.overlays),
                "overrides": dict(method.values),
                **({"until": method.until} if method.until else {}),
            }
            for method in self.methods
        }
        return {"title": self.title, "layout": self.layout, "methods": described}


def read_methods(
    path: Path, bundles: Path, overlays: Sequence[str] = (), values: Mapping[str, Any] | None = None
) -> Methods:
    """Read and check a methods file.

    Args:
        path: the file.
        bundles: folder of the bundles that it names.
        overlays: further overlays of all methods.
        values: further ids of all methods.

    Raises:
        InputError: no such file, not YAML, an unknown key, bundle, overlay, id, row or layout.
    """
    content = _mapping(path, _load(path), _TABLE_KEYS)
    listed = content.get("methods")
    if not isinstance(listed, dict) or not listed:
        raise InputError(f"{path}: names no methods; give `methods: {{NAME: {{bundle: ...}}}}`")
    shared = _names(path, content, "overlays") or ()
    methods = []
    for name, item in listed.items():
        method = _method(path, str(name), item, bundles)
        every = (*shared, *method.overlays, *overlays)
        methods.append(_checked(path, replace(method, overlays=every, values={**method.values, **(values or {})})))
    if twice := {method.slug for method in methods if [other.slug for other in methods].count(method.slug) > 1}:
        raise InputError(f"{path}: two methods would share the folder {min(twice)}; give names that differ in letters")
    base, layout = content.get("base", methods[0].name), content.get("layout", LAYOUTS[0])
    _one_of(path, "base", base, [method.name for method in methods])
    _one_of(path, "layout", layout, LAYOUTS)
    rows = _names(path, content, "rows", (*TRIVIAL, *(key for key in EXTRAS if key != "ungated")))
    return Methods(tuple(methods), rows, base, str(content.get("title", "")), layout)


def _method(path: Path, name: str, item: Any, bundles: Path) -> Method:
    content = _mapping(path, item, _METHOD_KEYS, f"{name}: ")
    values = content.get("set") or {}
    if not isinstance(values, dict):
        raise InputError(f"{path}: {name}: set is no mapping; give `set: {{id: value}}`")
    found = sorted(folder.name for folder in bundles.iterdir() if (folder / "configs" / "pipeline.yaml").is_file())
    _one_of(path, f"{name}: bundle", content.get("bundle"), found)
    until = content.get("until")
    return Method(
        name,
        bundles / content["bundle"],
        _names(path, content, "overlays") or (),
        values,
        None if until is None else str(until),
        _names(path, content, "rows", STEPS),
    )


def _checked(path: Path, method: Method) -> Method:
    overlay_values(method.bundle, method.overlays)
    check_ids(set(method.values), method.bundle / "configs", f"{path}: {method.name}")
    return method


def _load(path: Path) -> Any:
    if not path.is_file():
        raise InputError(f"{path}: no such methods file")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # a key twice would drop a method
            return yaml.load(path.read_text(encoding="utf-8"), CheckKeyDuplicatesYamlLoader)
    except (yaml.YAMLError, UserWarning, ValueError) as error:
        raise InputError(f"{path}: not readable as YAML: {' '.join(str(error).split())}") from error


def _mapping(path: Path, content: Any, keys: Sequence[str], where: str = "") -> dict[str, Any]:
    if not isinstance(content, dict):
        raise InputError(f"{path}: {where}holds no keys; it may have {', '.join(keys)}")
    for key in content:
        _one_of(path, f"{where}key", key, keys)
    return content


def _names(
    path: Path, content: Mapping[str, Any], key: str, known: Sequence[str] | None = None
) -> tuple[str, ...] | None:
    """The list under a key; None without it."""
    found = content.get(key)
    if found is None:
        return None
    if not isinstance(found, list):
        raise InputError(f"{path}: {key} is no list; give [NAME, ...]")
    for name in found:
        if known is not None:
            _one_of(path, key, name, known)
    return tuple(str(name) for name in found)


def _one_of(path: Path, what: str, value: Any, known: Sequence[str]) -> None:
    if value not in known:
        raise InputError(f"{path}: {what} '{value}' is not known; choose among {', '.join(known)}")
