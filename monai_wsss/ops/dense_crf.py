"""Fully connected conditional random field, by mean field."""

from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from monai_wsss.errors import InputError

_FLOOR = 1e-5  # the smallest probability that the unary term sees
_IGNORE = 255


def dense_crf(
    probability: Tensor,
    image: Tensor,
    *,
    sxy_gaussian: float = 3.0,
    weight_gaussian: float = 3.0,
    sxy_bilateral: float = 80.0,
    srgb: float = 13.0,
    weight_bilateral: float = 10.0,
    iterations: int = 10,
    unary: Literal["log", "probability"] = "log",
) -> Tensor:
    """Posterior of a dense CRF with a smoothness and an appearance kernel.

    ``Q <- softmax(log P + w_g K_g Q + w_b K_b Q)``, with ``K_g`` Gaussian in position, ``K_b`` in position and
    intensity, both normalised symmetrically. With ``unary="probability"`` the term log P is P itself: an almost flat
    unary that the kernels easily outvote.

    A grey image counts once: replicated to three channels, it behaves about as with ``srgb / sqrt(3)``.

    Args:
        probability: P, ``(B, L, *S)`` in [0, 1], 2D or 3D, floored at 1e-5.
        image: the image, ``(B, C, *S)`` in [0, 1].
        sxy_gaussian: width of the smoothness kernel, pixels.
        weight_gaussian: its weight w_g; 0 leaves it out.
        sxy_bilateral: spatial width of the appearance kernel, pixels.
        srgb: intensity width of the appearance kernel, on the scale 0..255.
        weight_bilateral: its weight w_b; 0 leaves it out.
        iterations: mean-field steps, >= 0.
        unary: what stands for the negative unary energy, log P or P.

    Returns:
        Q, ``(B, L, *S)``, float32, on the device of ``probability``; fewer than two labels are returned unchanged.

    Raises:
        InputError: if pydensecrf is not installed.
        ValueError: if shapes, widths or values are out of range.

    Source: Kraehenbuehl and Koltun, NeurIPS 2011, Eqs. 2-3 and Algorithm 1; ``probability``: the published code of
    Huang et al., DSRG, CVPR 2018.
    """
    if unary not in ("log", "probability"):
        raise ValueError(f'unary must be "log" or "probability", got {unary!r}.')
    _check(probability, image, (sxy_gaussian, sxy_bilateral, srgb), (weight_gaussian, weight_bilateral), iterations)
    if probability.shape[1] < 2 or probability.numel() == 0:
        return probability
    p = probability.detach().float()
    energies = -(p.clamp(_FLOOR, 1.0).log() if unary == "log" else p)
    colours = image.detach().float() * 255.0 / srgb
    # last axis first, as in pydensecrf's DenseCRF2D: the lattice's approximation depends on the order
    axes = torch.meshgrid(*(torch.arange(n).float() for n in image.shape[2:]), indexing="ij")
    grid = torch.stack(axes[::-1])
    posteriors = []
    for energy, colour in zip(energies.flatten(2).cpu(), colours.cpu(), strict=True):
        kernels = [
            (grid / sxy_gaussian, weight_gaussian),
            (torch.cat([grid / sxy_bilateral, colour]), weight_bilateral),
        ]
        posteriors.append(_pydensecrf(energy, [(f.flatten(1), w) for f, w in kernels if w > 0], iterations))
    return torch.stack(posteriors).reshape(probability.shape).to(probability.device)


def label_unary(labels: Tensor, num_labels: int, confidence: float = 0.7) -> Tensor:
    """Probabilities that hard labels stand for, as a unary term of the CRF.

    ``P(l) = confidence`` for the given label, ``(1 - confidence) / (L - 1)`` for each other; ``1 / L`` where ignored

    Args:
        labels: labels 0..L-1, or 255 for ignore, ``(B, 1, *S)``, uint8.
        num_labels: L, background included; with L = 1 every probability is 1.
        confidence: probability that a given label is right, between 0 and 1.

    Returns:
        Probabilities ``(B, L, *S)``, float32.

    Raises:
        ValueError: if a label is out of range, or ``confidence`` is not between 0 and 1.

    Source: Ahn et al., IRNet, CVPR 2019 (confidence 0.7).
    """
    if labels.ndim < 3 or labels.shape[1] != 1:
        raise ValueError(f"labels must be (B, 1, *S), got {tuple(labels.shape)}.")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must be between 0 and 1, got {confidence}.")
    index = labels.long()
    ignored = index == _IGNORE
    index = index.masked_fill(ignored, 0)
    if num_labels < 1 or bool(((index < 0) | (index >= num_labels)).any()):
        raise ValueError(f"labels must be 0..{num_labels - 1} or {_IGNORE}, got {torch.unique(labels).tolist()}.")
    shape = (labels.shape[0], num_labels, *labels.shape[2:])
    if num_labels == 1:  # nothing is left to share: 0 / 0
        return torch.ones(shape, device=labels.device)
    probability = torch.full(shape, (1 - confidence) / (num_labels - 1), device=labels.device)
    return probability.scatter_(1, index, confidence).masked_fill(ignored, 1 / num_labels)


def _check(
    probability: Tensor, image: Tensor, widths: tuple[float, ...], weights: tuple[float, ...], iterations: int
) -> None:
    p, i = probability.shape, image.shape
    if probability.ndim not in (4, 5) or image.ndim != probability.ndim or p[0] != i[0] or p[2:] != i[2:]:
        raise ValueError(f"probability must be (B, L, *S) and image (B, C, *S), 2D or 3D, got {tuple(p)}, {tuple(i)}.")
    if not all(0 < w < float("inf") for w in widths):
        raise ValueError(f"widths must be > 0, got sxy_gaussian, sxy_bilateral, srgb = {widths}.")
    if not all(0 <= w < float("inf") for w in weights) or iterations < 0:
        raise ValueError(f"weights and iterations must be >= 0, got {weights}, {iterations}.")
    # the lattice hashes its features: a NaN there is a crash or an endless loop, not a NaN out
    for name, x in (("probability", probability), ("image", image)):
        if not bool(((x >= -1e-3) & (x <= 1 + 1e-3)).all()):
            raise ValueError(f"{name} must be in [0, 1], got NaN or values outside.")


def _pydensecrf(energy: Tensor, kernels: list[tuple[Tensor, float]], iterations: int) -> Tensor:
    """One image: unary energy ``(L, N)`` and kernels as (features ``(D, N)``, Potts weight); posterior ``(L, N)``."""
    dcrf = _import_pydensecrf()
    crf = dcrf.DenseCRF(energy.shape[1], energy.shape[0])
    crf.setUnaryEnergy(np.ascontiguousarray(energy.numpy()))
    for features, weight in kernels:
        crf.addPairwiseEnergy(
            np.ascontiguousarray(features.numpy()),
            compat=weight,
            kernel=dcrf.DIAG_KERNEL,
            normalization=dcrf.NORMALIZE_SYMMETRIC,
        )
    return torch.from_numpy(np.array(crf.inference(iterations), dtype=np.float32))


def _import_pydensecrf() -> Any:
    try:
        import pydensecrf.densecrf as dcrf
    except ImportError as error:
        raise InputError(
            'The dense CRF needs pydensecrf: pip install "monai_wsss[crf]" (Python < 3.13, a C++ compiler).'
        ) from error
    return dcrf
