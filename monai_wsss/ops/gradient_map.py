"""Class maps from features and the gradients of the logits with respect to them."""

from __future__ import annotations

import torch
from torch import Tensor


def grad_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """Grad-CAM: each feature weighs as much as its mean gradient.

    ``M_k = ReLU(sum_f w_kf A_f)`` with ``w_kf = mean_x g_kfx``

    After global average pooling and a linear layer this is the class activation map, divided by the number of
    positions, and without its negative part.

    Args:
        features: features A of a layer, ``(B, F, *S)``, any float dtype.
        gradients: g, gradients of each image's K logits with respect to its features, ``(B, K, F, *S)``.

    Returns:
        Maps ``(B, K, *S)`` >= 0, summed in float32 (float64 where an argument is).

    Raises:
        ValueError: if the shapes do not fit.

    Source: Selvaraju et al., Grad-CAM, ICCV 2017, Eq. 1 and 2.
    """
    dtype, places = _check(features, gradients)
    return _weighted(features.to(dtype), gradients.mean(dim=places, dtype=dtype))


def grad_cam_plus_plus(
    features: Tensor, gradients: Tensor, variant: str = "paper", scores: Tensor | None = None
) -> Tensor:
    """Grad-CAM++: each feature weighs as much as its positive gradients, of which each has a weight of its own.

    ``M_k = ReLU(sum_f w_kf A_f)`` with ``w_kf = sum_x alpha_kfx ReLU(dY_k / dA_fx)`` and ``Y_k = exp(S_k)``;
    ``alpha = g^2 / (2 g^2 + c)``, with ``c = (sum_y A_y) g^3`` ("paper", g the gradient of S) or
    ``c = sum_y (A_y g_y^3)`` ("reference_code", g the gradient of Y); alpha is 0 where the denominator is.

    The two agree where the gradient of a feature is the same everywhere and S is 0, so after global average pooling
    and a linear layer they differ by S only. The paper's denominator is positive wherever a gradient counts if no
    feature is negative; the code's need not be.

    The maps come without the factor ``exp(S)`` ("paper") or ``2 exp(S) / (1 + exp(S))`` ("reference_code"), a positive
    constant of the image and class, which overflows or fades away. It cancels in a normalised map; in a mean over
    scales it would let the scale with the largest logit decide.

    Args:
        features: features A of a layer, ``(B, F, *S)``, any float dtype; >= 0, as after a ReLU, in the paper.
        gradients: gradients of each image's K logits S with respect to its features, ``(B, K, F, *S)``.
        variant: "paper" or "reference_code".
        scores: logits S ``(B, K)`` at which "reference_code" takes the gradient of ``exp(S)``; None: S = 0, the
            gradient of S itself. The paper's alpha does not depend on them.

    Returns:
        Maps ``(B, K, *S)`` >= 0, summed in float32 (float64 where an argument is).

    Raises:
        ValueError: if the shapes do not fit, or the variant is another.

    Source: Chattopadhay et al., Grad-CAM++, WACV 2018, section 3. "reference_code": the code published with Viniavskyi
    et al. 2020 (scores given) and MONAI's GradCAMpp (scores None), less the 1e-8 and 1e-7 that they add to the
    denominator: these outweigh ``2 g^2`` from some thousand positions on.
    """
    if variant not in ("paper", "reference_code"):
        raise ValueError(f"variant must be 'paper' or 'reference_code', got {variant!r}.")
    dtype, places = _check(features, gradients)
    if scores is not None and scores.shape != gradients.shape[:2]:
        raise ValueError(
            f"scores must be {tuple(gradients.shape[:2])} to fit the gradients, got {tuple(scores.shape)}."
        )
    maps, g = features.to(dtype), gradients.to(dtype)
    square = g * g
    if variant == "paper":
        denominator = 2 * square + maps.unsqueeze(1).sum(dim=places, keepdim=True) * square * g
    else:
        # exp(S)^2 g^2 / (2 exp(S)^2 g^2 + exp(S)^3 c), times (1 + exp(S)) / 2: finite for any S, and itself for S = 0
        logit = g.new_zeros(g.shape[:2]) if scores is None else scores.to(dtype)
        present = logit.sigmoid().reshape(*g.shape[:2], *[1] * (g.ndim - 2))
        absent = (-logit).sigmoid().reshape_as(present)
        denominator = 4 * absent * square + 2 * present * (maps.unsqueeze(1) * square * g).sum(dim=places, keepdim=True)
    alpha = torch.where(denominator == 0, 0, square / denominator)
    return _weighted(maps, (alpha * g.relu()).sum(dim=places))


def layer_cam(features: Tensor, gradients: Tensor) -> Tensor:
    """LayerCAM: each feature weighs, at each position, as much as its positive gradient there.

    ``M_k = ReLU(sum_f ReLU(g_kf) A_f)``

    Args:
        features: features A of a layer, ``(B, F, *S)``, any float dtype.
        gradients: g, gradients of each image's K logits with respect to its features, ``(B, K, F, *S)``.

    Returns:
        Maps ``(B, K, *S)`` >= 0, summed in float32 (float64 where an argument is).

    Raises:
        ValueError: if the shapes do not fit.

    Source: Jiang et al., LayerCAM, IEEE Transactions on Image Processing 2021, section III.
    """
    dtype, _ = _check(features, gradients)
    with torch.autocast(features.device.type, enabled=False):
        return torch.einsum("bkf...,bf...->bk...", gradients.to(dtype).relu(), features.to(dtype)).relu()


def _check(features: Tensor, gradients: Tensor) -> tuple[torch.dtype, tuple[int, ...]]:
    """Dtype of the sums, and the spatial axes of the gradients."""
    fits = gradients.ndim == features.ndim + 1 and features.ndim >= 3
    if not fits or gradients.shape[:1] + gradients.shape[2:] != features.shape:
        raise ValueError(
            "features must be (B, F, *S) and gradients (B, K, F, *S), "
            f"got {tuple(features.shape)} and {tuple(gradients.shape)}."
        )
    dtype = torch.promote_types(torch.promote_types(features.dtype, gradients.dtype), torch.float32)
    return dtype, tuple(range(3, gradients.ndim))


def _weighted(features: Tensor, weight: Tensor) -> Tensor:
    """``ReLU(sum_f w_kf A_f)`` of weights ``(B, K, F)``; autocast would turn the sum back into half precision."""
    with torch.autocast(features.device.type, enabled=False):
        return torch.einsum("bkf,bf...->bk...", weight, features).relu()
