"""Seeds of region growing: certain lesion, certain background, and much between them that is left open."""

from torch import Tensor

_IGNORE = 255


def seed_labels(masks: Tensor, maps: Tensor, background: float, body: Tensor, absent: Tensor) -> Tensor:
    """Masks without the background of which the class maps are not sure.

    A lesion pixel stays. Any other is background where it lies in the body and all maps of it stay below `background`,
    and unlabelled (255) elsewhere: the air around the body would be half of the background and teach nothing. A slice
    whose labels say that every class is absent is background throughout, one without a map and without such labels is
    unlabelled.

    Args:
        masks: 0 background, k + 1 class k, 255 unlabelled, uint8 `(D, 1, H, W)`.
        maps: class maps `(D, K, H, W)` in [0, 1], 0 where gated.
        background: threshold; it takes the place of a saliency model's, which knows photographs.
        body: where the body is, bool `(D, 1, H, W)`.
        absent: slices in which every class is absent for certain, bool `(D,)`.

    Source: Huang et al., DSRG, CVPR 2018, Sec. 4.1, where background is a saliency below 0.06.
    """
    seeds = masks.clone()
    quiet = (maps < background).all(dim=1, keepdim=True) & body
    seeds[(seeds == 0) & ~quiet] = _IGNORE
    seeds[~maps.flatten(1).any(dim=1)] = _IGNORE
    seeds[absent] = 0
    return seeds
