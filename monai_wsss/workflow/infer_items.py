"""Which volumes inference runs on."""

from pathlib import Path

from monai_wsss.data import PreparedDataset
from monai_wsss.data.discovery import find_volumes, stem_of


def inference_items(dataset_dir: str, exclude: str | None = None) -> list[dict[str, str]]:
    """`{image, case}` of a prepared folder's test split, or of every volume in any other folder, or of one file.

    A folder `exclude` below it is left out: masks written there before are no volumes.

    Raises:
        InputError: nothing there that can be read.
    """
    folder = Path(dataset_dir)
    if (folder / "dataset.json").exists():
        return [{"image": str(case.image), "case": case.case} for case in PreparedDataset.read(folder).cases("test")]
    volumes, unreadable = find_volumes(folder, exclude=[exclude] if exclude else [])
    items = [{"image": str(volume.path), "case": volume.case} for volume in volumes]
    # Those go along too: the stage meets them again, skips and lists them.
    return items + [{"image": str(item.file), "case": stem_of(item.file)} for item in unreadable]
