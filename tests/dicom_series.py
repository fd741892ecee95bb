"""What `find_series` makes of a folder."""

from pathlib import Path

from monai_wsss.data.dicom.series import find_series


def series_of(folder, **options):
    return find_series(sorted(Path(folder).rglob("*")), **options)


def parts_of(folder, **options):
    found = series_of(folder, **options)
    return [(series.tags.part, len(series.frames or series.files), series.problem) for series in found]
