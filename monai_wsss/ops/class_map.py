"""Class maps: from features and classifier weights to maps in [0, 1] and label maps."""

from collections.abc import Sequence

import torch
from torch import Tensor

_MAX_CLASSES = 254  # labels 1..254 in uint8: 0 is background, 255 is ignore


def class_maps(features: Tensor, weight: Tensor) -> Tensor:
    """Class activation maps of a classifier that ends in global average pooling and a linear layer.

    ``M_k = sum_f w_kf A_f``

    Args:
        features: feature maps A before pooling, ``(B, F, *S)``, any float dtype.
        weight: the linear layer's weight w, ``(K, F)``.

    Returns:
        Raw maps ``(B, K, *S)``, summed in float32 (float64 where an argument is).

    Raises:
        ValueError: if the shapes do not fit.

    Source: Liu et al., Mixed-UNet, 2022, Eq. 1; Zhou et al., CAM, CVPR 2016.
    """
    if features.ndim < 2 or weight.ndim != 2 or features.shape[1] != weight.shape[1]:
        raise ValueError(
            f"features must be (B, F, *S) and weight (K, F), got {tuple(features.shape)} and {tuple(weight.shape)}."
        )
    dtype = torch.promote_types(_at_least_float32(features), weight.dtype)
    # autocast would turn the sum over F, often thousands of terms, back into half precision
    with torch.autocast(features.device.type, enabled=False):
        return torch.einsum("bf...,kf->bk...", features.to(dtype), weight.to(dtype))


def normalize_class_maps(maps: Tensor, min_range: float = 1e-5, from_zero: bool = False) -> Tensor:
    """Stretch each map to [0, 1]; a flat map becomes zeros, never stretched noise.

    ``M' = (M - min M) / (max M - min M)``, and 0 where ``max M - min M < min_range``; from zero
    ``M' = max(M, 0) / max M``, and 0 where ``max M < min_range``

    Args:
        maps: raw maps ``(B, K, *S)``.
        min_range: smallest range, in the maps' own units, that counts as a signal; > 0.
        from_zero: negative values become 0 and are not stretched, so that a threshold is a share of the maximum.

    Returns:
        Maps ``(B, K, *S)`` in [0, 1], float32 (float64 stays).

    Raises:
        ValueError: if a map holds a value that is not finite, or ``min_range`` is not > 0.

    Source: Liu et al., Mixed-UNet, 2022, Eq. 11; from zero: Chen et al., BES, 2020, Eq. 8, and Huang et al., DSRG,
    2018, Sec. 4.1, whose seeds are a share of the largest value.
    """
    if not min_range > 0:
        raise ValueError(f"min_range must be > 0, got {min_range}.")
    if not bool(torch.isfinite(maps).all()):
        raise ValueError("maps must be finite, got NaN or infinity.")
    if maps.numel() == 0:
        return maps.to(_at_least_float32(maps))
    flat = maps.to(_at_least_float32(maps)).flatten(2)
    flat = flat.clamp(min=0.0) if from_zero else flat
    low, high = flat.amin(dim=2, keepdim=True), flat.amax(dim=2, keepdim=True)
    low = torch.zeros_like(low) if from_zero else low
    spread = high - low
    scaled = (flat - low) / spread.clamp(min=min_range)
    return scaled.masked_fill(spread < min_range, 0.0).reshape(maps.shape)


def gate_class_maps(maps: Tensor, present: Tensor) -> Tensor:
    """Set the maps of absent classes to zero.

    ``M'_k = M_k [k is present]``

    Args:
        maps: maps ``(B, K, *S)``.
        present: bool, or 1 present, 0 absent, -1 unknown (counts as absent), ``(B, K)``.

    Raises:
        ValueError: if the shapes do not fit, or ``present`` holds anything else, such as a probability.
    """
    if present.shape != maps.shape[:2]:
        raise ValueError(f"present must be {tuple(maps.shape[:2])} to fit the maps, got {tuple(present.shape)}.")
    if not bool(((present == 1) | (present == 0) | (present == -1)).all()):
        raise ValueError("present must hold 1, 0 or -1 only; threshold probabilities first.")
    absent = (present != 1).to(maps.device).reshape(*present.shape, *[1] * (maps.ndim - 2))
    return maps.masked_fill(absent, 0.0)


def threshold_labels(maps: Tensor, threshold: float | Sequence[float]) -> Tensor:
    """Label map: the strongest of the classes that reach their threshold, else background.

    ``L = 1 + argmax_k {M_k : M_k >= T_k}``, and 0 where no class reaches its threshold

    Args:
        maps: maps ``(B, K, *S)`` in [0, 1].
        threshold: T, one for all classes or one for each, in [0, 1].

    Returns:
        Labels ``(B, 1, *S)``, uint8: 0 background, k + 1 for class k; the first class wins a tie.

    Raises:
        ValueError: if the number of thresholds is neither 1 nor K, or there are more than 254 classes.

    Source: Liu et al., Mixed-UNet, 2022, Eq. 12 (T = 0.35 for infarction, 0.7 for haemorrhage).
    """
    num_classes = maps.shape[1]
    if not 1 <= num_classes <= _MAX_CLASSES:
        raise ValueError(f"maps must hold 1 to {_MAX_CLASSES} classes, got {num_classes}.")
    thresholds = torch.as_tensor(threshold, dtype=_at_least_float32(maps), device=maps.device).reshape(-1)
    if len(thresholds) not in (1, num_classes):
        raise ValueError(f"threshold must be one number or {num_classes}, got {len(thresholds)}.")
    values = maps.to(thresholds.dtype)
    reached = values >= thresholds.reshape(1, -1, *[1] * (maps.ndim - 2))
    winner = values.masked_fill(~reached, -torch.inf).argmax(dim=1, keepdim=True) + 1
    return (winner * reached.any(dim=1, keepdim=True)).to(torch.uint8)


def _at_least_float32(x: Tensor) -> torch.dtype:
    return torch.promote_types(x.dtype, torch.float32)
