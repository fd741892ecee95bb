"""Values and components of a bundle's configs, checked before anything runs for hours."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from monai_wsss.data import find_cause
from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import is_stage_config, known_defaults, load_config

# Components that need no data and no earlier stage, so that building them early shows a bad value early.
_COMPONENTS = ("preprocessing", "augmentation", "classifier_def", "network_def", "train#preprocessing", "train#loss")

# Counts of which none is a choice: head_convs=0 is a network without them.
_OPTIONAL_COUNTS = ("_convs", "_iterations", "_stages", "_times")


def check_values(values: Mapping[str, Any], configs: Path, source: str) -> dict[str, Any]:
    """Values for top-level ids, a whole number given as 1e2 made one; ids without a default of a plain type pass.

    A value is of its default's kind: true or false, whole number, number (or a list of them, one a class), text, list.
    No number is negative where its default is not, and none is 0 where a whole default is not, but for counts of parts
    that can be left out.

    Raises:
        InputError: a value of another kind.
    """
    defaults = known_defaults(configs)
    checked = {}
    for name, value in values.items():
        optional = type(value) is int and value == 0 and name.endswith(_OPTIONAL_COUNTS)
        checked[name] = value if optional else _checked(value, defaults.get(name), f"{source}{name}={value}")
    return checked


def _is_expression(value: Any) -> bool:
    return isinstance(value, str) and value[:1] in ("$", "@", "%")


def _checked(value: Any, default: Any, said: str) -> Any:
    if value is None and (isinstance(default, float) or (isinstance(default, list) and isinstance(default[0], list))):
        return value  # for example a share, or windows, that are switched off; the component decides
    if default is None or isinstance(default, dict) or _is_expression(default) or _is_expression(value):
        return value
    hint = f", such as {default}"
    if isinstance(default, list):
        if not isinstance(value, list) or not value:
            raise InputError(f"{said}: give a list{hint}")
        return [_checked(item, default[0], said) for item in value] if default else value
    if isinstance(default, bool):
        if not isinstance(value, bool):
            raise InputError(f"{said}: give true or false")
    elif isinstance(default, str):
        if not isinstance(value, str):
            raise InputError(f"{said}: give text{hint}")
    elif isinstance(default, float) and isinstance(value, list):
        return [_checked(item, default, said) for item in value]
    else:
        return _number(value, default, said, hint)
    return value


def _number(value: Any, default: float, said: str, hint: str) -> float:
    whole = isinstance(default, int)
    number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if not number or (whole and value != int(value)):
        raise InputError(f"{said}: give a {'whole ' if whole else ''}number{hint}")
    if (value < 0 <= default) or (whole and value == 0 < default):
        raise InputError(f"{said}: too small; the default is {default}")
    return int(value) if whole else value


def check_components(configs: Path) -> None:
    """Build what can be built without data, on torch's meta device, where weights take neither time nor memory.

    Raises:
        InputError: a value that a component refuses.
    """
    for path in sorted(configs.glob("*.yaml")):
        config = load_config(path)
        if not is_stage_config(config):
            continue
        parser = ConfigParser(config)
        for name in _COMPONENTS:
            if name not in parser:
                continue
            try:
                with torch.device("meta"):
                    parser.get_parsed_content(name)
            except RuntimeError as error:
                reason = value_error(error)
                if reason is None:
                    raise
                raise InputError(f"{path.name}: {name}: {reason}") from error


def value_error(error: BaseException) -> str | None:
    """One line of the `ValueError` in a chain of causes, which MONAI's config parser wraps; None if there is none."""
    cause = find_cause(error, ValueError)
    return None if cause is None else " ".join(str(cause).split())
