"""Labels of class boundaries from the mixture of labels around each pixel."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

BACKGROUND, FOREGROUND, BOUNDARY, UNCERTAIN = 0, 1, 2, 255
_IGNORE = 255


@torch.no_grad()
def boundary_labels(
    labels: Tensor,
    num_labels: int,
    window: int = 13,
    theta_scale: float = 0.35,
    theta_diff: float = 0.10,
    foreground_pairs: bool = False,
) -> Tensor:
    """Which pixels lie on a boundary, which clearly do not, and which are left open.

    With ``S_c`` the share of label c in the window around a pixel, ``S_bg = S_0`` and ``S_fg = max_{c > 0} S_c``:
    ``BOUNDARY if min(S_fg, S_bg) > theta_scale and |S_fg - S_bg| < theta_diff``,
    ``BACKGROUND if S_bg > 2 theta_scale and S_bg - S_fg >= 2 theta_diff``, ``FOREGROUND`` likewise, else ``UNCERTAIN``

    Eq. 3 demands ``min(S_fg, S_bg) > 2 theta_scale`` away from boundaries, which no window can fulfil at 0.35; here, as
    in the published code, the larger share alone must. Ignored pixels count in the window's size and for no label: a
    band of them as wide as ``(1 - 2 theta_scale) window`` between two sides leaves no boundary there. Only pixels
    within the image count, while Eq. 2 divides by ``window^2`` at the image's edge too. The label of the pixel itself
    plays no part.

    The window must suit the objects: a lone one on plain background has a boundary only if its area is above
    ``(1 - theta_diff) / 2 window^2``, so at 13 a disc of radius 4 px has none. A smaller window needs a larger
    ``theta_diff``: along a straight edge the shares differ by ``1 / window``, so at 0.10 all windows below 11 miss it;
    ``theta_diff = 1.3 / window`` finds there what 0.10 finds at 13. Below 5 the shares stay under a scale of 0.35.

    Args:
        labels: 0 background, k + 1 class k, 255 ignore, ``(B, 1, *S)``, uint8, 2D or 3D.
        num_labels: L, background counted, 2 to 255. Only labels that occur cost time.
        window: w, side of the square or cube, pixels, odd, >= 3.
        theta_scale: least share of both sides of a boundary, in [0, 0.5).
        theta_diff: their shares differ by less than this, in (0, 0.5].
        foreground_pairs: two classes side by side are a boundary too, by the same rule for the two largest shares among
            the classes, whatever the background's; not in the paper.

    Returns:
        Boundary labels ``(B, 1, *S)``, uint8: the constants of this module, 0, 1, 2, 255.

    Raises:
        ValueError: if shape, labels or parameters are out of range.

    Source: Chen et al., BES, ECCV 2020, Eqs. 2-3 (13, 0.35, 0.10; 0.30 for theta_scale in the published code).
    """
    if labels.ndim not in (4, 5) or labels.shape[1] != 1:
        raise ValueError(f"labels must be (B, 1, *S), 2D or 3D, got {tuple(labels.shape)}.")
    if not 2 <= num_labels <= _IGNORE:
        raise ValueError(f"num_labels must be 2 to {_IGNORE}, got {num_labels}.")
    if window < 3 or window % 2 != 1:
        raise ValueError(f"window must be odd and >= 3, got {window}.")
    if not (0 <= theta_scale < 0.5 and 0 < theta_diff <= 0.5):
        raise ValueError(f"theta_scale must be in [0, 0.5), theta_diff in (0, 0.5], got {theta_scale}, {theta_diff}.")
    present = [label for label in labels.unique().tolist() if label != _IGNORE]
    if unknown := [label for label in present if label not in range(num_labels)]:
        raise ValueError(f"labels must be 0 to {num_labels - 1} or {_IGNORE}, got {unknown}.")

    # the shares come of whole numbers by one division, so both sides of < are rounded alike and ties are ties
    background = _window_sum(labels == 0, window)
    best, second = torch.zeros_like(background), torch.zeros_like(background)
    for label in present:
        if label > 0:
            count = _window_sum(labels == label, window)
            second = torch.maximum(second, torch.minimum(best, count))
            best = torch.maximum(best, count)
    size = _window_sum(torch.ones_like(labels[:1]), window)

    lead = (best - background) / size
    boundary = (torch.minimum(best, background) / size > theta_scale) & (lead.abs() < theta_diff)
    if foreground_pairs:
        boundary |= (second / size > theta_scale) & ((best - second) / size < theta_diff)
    result = torch.full_like(labels, UNCERTAIN, dtype=torch.uint8)
    result[(background / size > 2 * theta_scale) & (-lead >= 2 * theta_diff)] = BACKGROUND
    result[(best / size > 2 * theta_scale) & (lead >= 2 * theta_diff)] = FOREGROUND
    result[boundary] = BOUNDARY
    return result


def _window_sum(x: Tensor, window: int) -> Tensor:
    """Sum over the window around each pixel, as far as it lies in the image, float32; one axis after the other."""
    pool, axes = (F.avg_pool2d, range(2)) if x.ndim == 4 else (F.avg_pool3d, range(3))
    total = F.pad(x.float(), [window // 2] * 2 * len(axes))  # the 3D pooling's own refuses an image below the window
    for axis in axes:
        total = pool(total, [window if other == axis else 1 for other in axes], stride=1, divisor_override=1)
    return total
