"""Which masks the segmenter learns from."""

from collections.abc import Mapping

REFINEMENTS: Mapping[str, tuple[str, ...]] = {
    "none": ("pseudo_masks/refined",),
    "crf": ("pseudo_masks/crf",),
    "irnet": ("pseudo_masks/walk",),
    "bes": ("pseudo_masks/walk",),
}
SUPERVISIONS = ("static", "dsrg")


def mask_folders(refine: str, supervision: str = "static", thresholded: bool = False) -> list[str]:
    """Folders of the run whose masks a segmenter is trained on.

    Args:
        refine: what makes pseudo masks of class maps: `none` (thresholds alone), `crf`, `irnet` or `bes`.
        supervision: `static`, the pseudo masks; `dsrg`, what a first segmenter says whose seeds grew while it learnt.
        thresholded: with `crf`, also the masks before the CRF, as Mixed-UNet's loss takes them.

    Raises:
        ValueError: another name.
    """
    if refine not in tuple(REFINEMENTS):  # also where it is a list
        raise ValueError(f"refine must be one of {', '.join(REFINEMENTS)}, got {refine}")
    if supervision not in SUPERVISIONS:
        raise ValueError(f"supervision must be one of {', '.join(SUPERVISIONS)}, got {supervision}")
    if supervision == "dsrg":
        return ["relabelled"]
    before = ["pseudo_masks/refined"] if thresholded and refine == "crf" else []
    return [*before, *REFINEMENTS[refine]]


def made_folders(refine: str, supervision: str = "static") -> list[str]:
    """Folders of all masks that the choices make on the way to the segmenter, in order; see `mask_folders`."""
    confident = ["confident_masks"] if refine in ("irnet", "bes") else []
    grown = ["dsrg/seeds", "relabelled"] if supervision == "dsrg" else []
    return [*confident, *mask_folders(refine, thresholded=True), *grown]
