"""`prepare` for the folders of public data sets, in whatever form these come."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from monai_wsss.data import Skipped
from monai_wsss.data.formats import FORMATS
from monai_wsss.data.formats.native_format import NativeData
from monai_wsss.errors import InputError
from monai_wsss.workflow.prepare import prepare
from monai_wsss.workflow.prepare_report import PrepareReport

TABLE = "table"
"""The format of everything else: any folder of images, and a table of labels."""

_OWN = ("classes", "masks", "slice_key", "split_column", "group_column")  # what a data set brings or does not have
_SPLITS = ("split", "leave_out_site", "temporal")


def prepare_format(
    name: str, input: str | Path, labels: str | Path | None, out: str | Path, **options: Any
) -> PrepareReport:
    """Bring a data set's folder into the form that `prepare` takes, and prepare it.

    What is written on the way carries names in clear: it lies in a temporary folder that is removed, also after errors.

    Args:
        name: "table", or one of `FORMATS`.
        input: the data set's folder of images.
        labels: its table of labels; None for formats that bring their own.
        out: the prepared folder.
        options: of `prepare`.

    Raises:
        InputError: an unknown format, no table where one is needed, an option that the format decides, or as `prepare`.
    """
    if name == TABLE:
        if labels is None:
            raise InputError("--labels: give the table of labels; only some formats bring their own (--format)")
        return prepare(input, labels, out, **options)
    if name not in FORMATS:
        raise InputError(f"--format {name}: unknown; choose one of {', '.join((TABLE, *FORMATS))}")
    for option in _OWN:
        if options.get(option) is not None:
            raise InputError(f"--{option.replace('_', '-')}: is fixed by --format {name}; leave it out")
    with tempfile.TemporaryDirectory(prefix="monai-wsss-") as scratch:
        native = FORMATS[name](Path(input), None if labels is None else Path(labels), Path(scratch))
        if native.split_column is not None and not any(options.get(split) for split in _SPLITS):
            options["split_column"] = native.split_column
        options |= {
            "classes": native.classes,
            "masks": native.masks,
            "colour": native.colour,
            "exclude": native.exclude,
        }
        try:
            report = prepare(native.images, native.labels, out, **options)
        except InputError as error:  # the user knows nothing of the table that we wrote
            raise InputError(str(error).replace(str(native.labels), str(labels or input))) from error
    _complete(report, native)
    return report


def _complete(report: PrepareReport, native: NativeData) -> None:
    """Tell what only the reader of the format knows; `prepare` itself misses the masks that were not written."""
    reasons = {report.file(problem.file): problem.reason for problem in native.mask_problems}
    report.truth_problems = [Skipped(s.file, reasons.get(s.file, s.reason)) for s in report.truth_problems]
    report.rows_without_file += native.rows_without_file
    report.notes += native.notes
    report.write()
