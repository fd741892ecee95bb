"""Labels refined by a dense CRF."""

from typing import Any

import torch
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from monai_wsss.ops.dense_crf import dense_crf, label_unary

_MOST_BONUS, _HALVINGS = 6.0, 6  # log-odds: of one in four hundred, to a tenth


def label_crf(
    labels: Tensor,
    image: Tensor,
    *,
    confidence: float = 0.7,
    min_share: float = 0.0,
    sxy_bilateral: float = 80.0,
    **kernels: Any,
) -> Tensor:
    """Most probable labels of a dense CRF whose unary term trusts each given label by ``confidence``.

    A CRF that asks for like neighbours wipes small or thin masks out, though an image-level label says that there is a
    lesion. With ``min_share`` s > 0, where a class of an image has less than s times the number of its given pixels,
    its unary term gets a bonus b > 0 (log-odds) within ``sxy_bilateral`` of them. b is found by bisection of 0 to 6:
    the least, to 0.1, with which all classes of the image have enough. If none is, the image's given labels stay.

    Args:
        labels: 0 background, k + 1 class k, ``(B, 1, *S)``, uint8, 2D or 3D. Only those present in an image enter its
            CRF; one without a lesion is left out.
        image: ``(B, C, *S)`` in [0, 1].
        confidence: probability of a given label in the unary term, between 0 and 1.
        min_share: s, number of a class's pixels over that of its given ones, 0 to 1; 0 leaves the CRF alone.
        sxy_bilateral: see :func:`dense_crf`, pixels.
        kernels: its other settings.

    Returns:
        Labels ``(B, 1, *S)``, uint8, on the device of ``labels``; images without a lesion are background.

    Raises:
        ValueError: a number out of its range.

    Source: the CRF of hard labels is IRNet's (Ahn et al., CVPR 2019); the bonus is this project's own.
    """
    if not 0 <= min_share <= 1:
        raise ValueError(f"min_share must be from 0 to 1, got {min_share}.")
    kernels = {"sxy_bilateral": sxy_bilateral} | kernels
    refined = torch.zeros_like(labels)
    for index in labels.flatten(1).any(dim=1).nonzero().flatten().tolist():
        given = labels[index].cpu()
        present = torch.unique(torch.cat([torch.zeros(1, dtype=given.dtype), given.flatten()]))
        one = _refined(torch.searchsorted(present, given), image[index : index + 1], confidence, min_share, kernels)
        refined[index] = present[one].to(labels.device)
    return refined


def _refined(given: Tensor, image: Tensor, confidence: float, min_share: float, kernels: dict[str, Any]) -> Tensor:
    """Labels ``(1, *S)`` of an image with given ones 0..L-1, of which all but 0 are somewhere."""
    wanted = min_share * torch.bincount(given.flatten())[1:]
    unary = label_unary(given.to(torch.uint8)[None], len(wanted) + 1, confidence)

    def found(probability: Tensor) -> tuple[Tensor, Tensor]:
        labels = dense_crf(probability, image, **kernels).argmax(dim=1)
        return labels, torch.bincount(labels.flatten(), minlength=len(wanted) + 1)[1:] >= wanted

    labels, enough = found(unary)
    if bool(enough.all()):
        return labels
    near = torch.zeros(unary.shape[1:])
    for label in (~enough).nonzero().flatten() + 1:  # a class that has enough must not grow
        near[label] = torch.from_numpy(distance_transform_edt(given[0] != label) <= kernels["sxy_bilateral"])
    best, low, high = given, 0.0, _MOST_BONUS
    for _ in range(_HALVINGS):
        bonus = (low + high) / 2
        labels, enough = found((unary.log() + bonus * near).softmax(dim=1))
        if bool(enough.all()):
            best, high = labels, bonus
        else:
            low = bonus
    return best
