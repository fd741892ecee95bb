"""DSRG's loss: seeds that grow with the network, and the CRF's boundaries."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.losses.balanced_seeding import BalancedSeedingLoss
from monai_wsss.losses.constrain_to_boundary import ConstrainToBoundaryLoss
from monai_wsss.losses.label_grid import labels_on_grid
from monai_wsss.ops.dense_crf import dense_crf
from monai_wsss.ops.region_growing import GrowingRule, grow_seeds, one_hot_seeds

_FLOOR = 1e-4  # the published code's, added to each probability before its logarithm
_RATIO_LIMITS = (0.05, 20.0)  # the published code's


class DSRGLoss(nn.Module):
    """Balanced seeding loss on grown seeds plus the constrain-to-boundary loss.

    ``L = L_seed(H, DSRG(S, H)) + boundary_weight KL(CRF(H, image) || H)``, growing anew from S at each call

    H is the softmax of the logits. Growing takes it as it is; for the logarithms of both terms, H and the CRF's
    posterior get ``(p + 1e-4) / (1 + 1e-4 L)`` as in the published code. (With this floor no probability of more than
    102 labels would reach 0.99.) The CRF runs at most once a call, on the CPU, and not at all if ``boundary_weight`` is
    0 and nothing grows by it.

    Logits of the image's size are averaged over blocks of ``stride`` pixels; logits of another size are used as they
    are. Labels are brought to the logits' grid by nearest neighbour and images by area; the CRF sees each image on
    [0, 1] from its darkest to its brightest value, over all channels.

    Args:
        foreground: theta_f, least probability at which a class grows, in [0, 1].
        background: theta_b, that of background, in [0, 1].
        balanced: False takes one mean over all seeds (SEC).
        grow: False learns from the seeds alone.
        grow_foreground: False leaves the classes at their seeds.
        grow_background: False leaves background at its seeds.
        boundary_weight: weight of the constrain-to-boundary loss, >= 0.
        rule: ``paper`` grows on H by Eq. 3, and the CRF's unary energy is -log H. ``reference_code`` grows on the
            CRF's posterior by the published code's rule (:func:`monai_wsss.ops.region_growing.grow_seeds`), the CRF's
            unary energy is -H, and CRF / H is clipped to [0.05, 20] in the boundary loss.
        stride: pixels of the image to one of the network's grid, >= 1.
        crf_sxy_gaussian: width of the smoothness kernel, pixels of the network's grid.
        crf_weight_gaussian: its weight.
        crf_sxy_bilateral: spatial width of the appearance kernel, pixels of the network's grid.
        crf_srgb: intensity width of the appearance kernel, on 0..255 from an image's darkest to its brightest value.
        crf_weight_bilateral: its weight.
        crf_iterations: mean-field steps.

    Raises:
        ValueError: if an argument is out of range.

    Source: Huang et al., DSRG, CVPR 2018, Eqs. 1-3; CRF widths (3 and 80 over 12), floor and clipping from the
    published code.
    """

    def __init__(
        self,
        foreground: float = 0.85,
        background: float = 0.99,
        balanced: bool = True,
        grow: bool = True,
        grow_foreground: bool = True,
        grow_background: bool = True,
        boundary_weight: float = 1.0,
        rule: GrowingRule = "paper",
        stride: int = 8,
        crf_sxy_gaussian: float = 3 / 12,
        crf_weight_gaussian: float = 3.0,
        crf_sxy_bilateral: float = 80 / 12,
        crf_srgb: float = 13.0,
        crf_weight_bilateral: float = 10.0,
        crf_iterations: int = 10,
    ) -> None:
        super().__init__()
        if not (0 <= foreground <= 1 and 0 <= background <= 1):
            raise ValueError(f"foreground and background must be in [0, 1], got {foreground} and {background}.")
        if not (boundary_weight >= 0 and stride >= 1):
            raise ValueError(f"boundary_weight must be >= 0 and stride >= 1, got {boundary_weight} and {stride}.")
        if rule not in ("paper", "reference_code"):
            raise ValueError(f'rule must be "paper" or "reference_code", got {rule!r}.')
        self.foreground = foreground
        self.background = background
        self.grow = grow
        self.grow_foreground = grow_foreground
        self.grow_background = grow_background
        self.boundary_weight = boundary_weight
        self.rule = rule
        self.stride = stride
        self.crf: dict[str, Any] = {
            "sxy_gaussian": crf_sxy_gaussian,
            "weight_gaussian": crf_weight_gaussian,
            "sxy_bilateral": crf_sxy_bilateral,
            "srgb": crf_srgb,
            "weight_bilateral": crf_weight_bilateral,
            "iterations": crf_iterations,
            "unary": "log" if rule == "paper" else "probability",
        }
        self.seeding = BalancedSeedingLoss(balanced)
        self.boundary = ConstrainToBoundaryLoss(_RATIO_LIMITS if rule == "reference_code" else None)

    def forward(self, logits: Tensor, target: tuple[Tensor, Tensor]) -> Tensor:
        """Loss, a scalar in float32 (float64 stays).

        Args:
            logits: ``(B, L, h, w)``, L >= 2, background first; at the network's resolution or at the image's.
            target: labels ``(B, 1, H, W)``, 0 background, k + 1 class k, 255 no seed; and the image ``(B, C, H, W)``.

        Raises:
            InputError: if the CRF is needed and pydensecrf is not installed.
            ValueError: if the shapes do not fit, or a label is out of range.
        """
        logits, labels, image = (x.as_subclass(Tensor) for x in (logits, *target))
        probability = self._probability(logits, labels, image)
        posterior = None
        if self.boundary_weight or self._grows_on_crf:
            if not bool(
                torch.isfinite(probability).all()
            ):  # a CRF would refuse it; the scaler of AMP skips such a step
                return probability.sum() * torch.nan
            posterior = self._posterior(probability, image)
        floored = _floor(probability)
        loss = self.seeding(floored.log(), self._grown(probability, posterior, labels))
        if posterior is not None and self.boundary_weight:
            loss = loss + self.boundary_weight * self.boundary(floored, _floor(posterior))
        return loss

    @torch.no_grad()
    def supervision(self, logits: Tensor, labels: Tensor, image: Tensor) -> Tensor:
        """What the loss would learn from: the grown seeds, or the seeds if nothing grows.

        Args:
            logits: ``(B, L, h, w)``, as in :meth:`forward`.
            labels: ``(B, 1, H, W)``.
            image: ``(B, C, H, W)``.

        Returns:
            ``(B, L, h, w)``, bool, on the network's grid.
        """
        logits, labels, image = (x.as_subclass(Tensor) for x in (logits, labels, image))
        probability = self._probability(logits, labels, image)
        return self._grown(probability, self._posterior(probability, image) if self._grows_on_crf else None, labels)

    @property
    def _grows_on_crf(self) -> bool:
        return self.grow and self.rule == "reference_code"

    def _probability(self, logits: Tensor, labels: Tensor, image: Tensor) -> Tensor:
        """H on the network's grid, in float32 at least."""
        shapes = tuple(logits.shape), tuple(labels.shape), tuple(image.shape)
        if any(len(s) != 4 or s[0] != shapes[0][0] for s in shapes) or shapes[0][1] < 2 or shapes[1][1] != 1:
            raise ValueError(f"logits, labels, image must be (B, L >= 2 | 1 | C, H, W), got {shapes}.")
        scores = logits.to(torch.promote_types(logits.dtype, torch.float32))
        if shapes[0][2:] == shapes[2][2:] and self.stride > 1:
            # a last block that is not whole is the mean of what it has: 321 pixels become 41, as in the network
            scores = F.avg_pool2d(scores, self.stride, ceil_mode=True)
        return scores.softmax(dim=1)

    @torch.no_grad()
    def _posterior(self, probability: Tensor, image: Tensor) -> Tensor:
        """Q on the network's grid."""
        grid = F.interpolate(_unit_range(image), probability.shape[2:], mode="area")
        return dense_crf(_floor(probability), grid, **self.crf)

    @torch.no_grad()
    def _grown(self, probability: Tensor, posterior: Tensor | None, labels: Tensor) -> Tensor:
        """Seeds on the network's grid, grown as the options say."""
        grid = labels_on_grid(labels, probability.shape[2:]).long()
        seeds = one_hot_seeds(grid, probability.shape[1])
        if not self.grow:
            return seeds
        return grow_seeds(
            seeds,
            posterior if self._grows_on_crf and posterior is not None else probability,
            self.foreground,
            self.background,
            self.rule,
            self.grow_foreground,
            self.grow_background,
        )


def _floor(probability: Tensor) -> Tensor:
    return (probability + _FLOOR) / (1 + _FLOOR * probability.shape[1])


def _unit_range(image: Tensor) -> Tensor:
    """Each image on [0, 1] from its darkest to its brightest value; a flat one becomes zeros."""
    x = image.float()
    low, high = x.flatten(1).amin(dim=1), x.flatten(1).amax(dim=1)
    low, span = (v.reshape(-1, 1, 1, 1) for v in (low, high - low))
    return ((x - low) / span.where(span > 0, torch.ones_like(span))).clamp(0, 1)
