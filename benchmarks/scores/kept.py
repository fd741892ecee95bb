"""What was found once stays in a file, so that nothing unchanged is scored again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from monai_wsss.data import write_json


def kept_or_found(file: Path, made_from: str, find: Callable[[], list[Any]]) -> list[Any]:
    """The plain data in `file`, or that of `find`, which is then written there.

    Args:
        file: JSON.
        made_from: digest of all that the data follow from; another one makes the file stale.
        find: what finds them anew.
    """
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    if content.get("made_from") != made_from:
        content = {"made_from": made_from, "cases": find()}
        write_json(file, content)
    return list(content["cases"])
