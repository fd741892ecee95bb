"""Several methods on the same test slices: a slice a row, a method a column (the Mixed-UNet paper's Figs. 4 and 6)."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw

from benchmarks.pictures import IMAGE, TRUTH, shown_slices
from benchmarks.rows.run_parts import preprocessing_of
from monai_wsss.data import PreparedDataset, atomic_path
from monai_wsss.errors import InputError
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.pictures import save_panel

_HEADER = 14  # pixels


def method_pictures(data: Path, folders: Mapping[str, Path], out: Path, cases: int = 4) -> None:
    """Write a PNG: image, true mask, and each method's outlines, or class maps as heat; see `shown_slices`.

    The grid is that of the first run among the folders, else that of the prepared folder.

    Args:
        data: prepared folder, with true masks.
        folders: by the method's name, folders such as RUN/predictions (masks), RUN/seeds (class maps) or WORK/rows/ROW.
        out: PNG file to write.
        cases: most slices, one a patient.

    Raises:
        InputError: no test patient with a lesion, or as `shown_slices`.
    """
    shown = shown_slices(data, folders, _grid(data, folders.values()), cases)
    if not shown:
        raise InputError(f"{data}: no test patient has a true lesion to show; prepare with --masks")
    rows = {f"patient {number}": one for number, one in enumerate(shown, start=1)}
    titles = (IMAGE, TRUTH, *folders)
    images = {title: [one.image] * len(titles) for title, one in rows.items()}
    overlays = {
        title: [0 * one.truth, one.truth, *(one.masks[name] for name in folders)] for title, one in rows.items()
    }
    save_panel(out, images, overlays)
    _write_header(out, titles)


def _grid(data: Path, folders: Iterable[Path]) -> GridPreprocessing:
    for folder in folders:
        for run in (folder.parent, folder.parent.parent):  # RUN/seeds, RUN/pseudo_masks/crf
            if (run / "bundle" / "configs" / "classify.yaml").is_file():
                return preprocessing_of(run)
    known = PreparedDataset.read(data).preprocessing
    return GridPreprocessing(**{key: value for key, value in known.items() if key != "version"})


def _write_header(path: Path, titles: Sequence[str]) -> None:
    """Write the titles of the columns above a picture."""
    with Image.open(path) as panel:
        page = Image.new("RGB", (panel.width, panel.height + _HEADER))
        page.paste(panel, (0, _HEADER))
    for number, title in enumerate(titles):
        ImageDraw.Draw(page).text((3 + number * page.width // len(titles), 1), title, fill=(255, 255, 255))
    with atomic_path(path) as part:
        page.save(part)
