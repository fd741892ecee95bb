"""Why a volume cannot be used, without saying where it lies."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from monai_wsss.data.skipped import reason_of


def generic_reason(error: BaseException, files: Sequence[Path]) -> str:
    """Return one line that says why, with "slice 3" or "the file" in place of the names of its files.

    Args:
        error: of reading the volume.
        files: the volume's files, in slice order.
    """
    reason = reason_of(error, files[0])
    for number, file in enumerate(files):
        place = f"slice {number}" if len(files) > 1 else "the file"
        reason = reason.replace(str(file), place)
        if len(file.name) > 4 or not file.name.isdigit():  # a file may be called "3", and so may a slice
            reason = re.sub(rf"(?<!\w){re.escape(file.name)}(?!\w)", place, reason)
    return reason.replace(str(files[0].parent), "its folder")
