"""A slice classifier that learns from the labels of whole studies."""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint

from monai_wsss.ops.attention_pooling import attention_pooling
from monai_wsss.ops.log_sum_exp_pooling import log_sum_exp_pooling

BAG_POOLINGS = ("log_sum_exp", "attention")


class BagClassifier(nn.Module):
    """Pools the logits of a study's slices into the study's.

    ``z = (1 / s) log (1 / D) sum_d exp(s z_d)`` (`log_sum_exp`), or ``z = sum_d a_d z_d`` with
    ``a_d = exp(s z_d) / sum_e exp(s z_e)`` (`attention`). A small s is the mean, a large one the maximum. Of one slice
    both are its own logit.

    The slices pass the network some at once, and their activations are computed again when the gradient needs them, so
    that memory holds those of one pass however large the studies are. Batch statistics are those of a pass. Each takes
    every n-th slice, so that it mixes the studies.

    Args:
        network: slice classifier, images ``(S, C, *S')`` to logits ``(S, K)``.
        pooling: `log_sum_exp` or `attention`.
        sharpness: s, in 1 / units of a logit; > 0, for attention >= 0.
        slices_at_once: most slices in a pass, >= 1.

    Raises:
        ValueError: another pooling, or a number out of range.

    Source: log-sum-exp pooling: Pinheiro and Collobert, From image-level to pixel-level labeling with convolutional
    networks, CVPR 2015, Eq. 1; attention: Chen et al., BES, ECCV 2020, Eqs. 6-7. Here over slices, not pixels.
    """

    def __init__(
        self, network: nn.Module, pooling: str = "log_sum_exp", sharpness: float = 1.0, slices_at_once: int = 16
    ) -> None:
        super().__init__()
        if pooling not in BAG_POOLINGS:
            raise ValueError(f"pooling must be one of {', '.join(BAG_POOLINGS)}, got {pooling}.")
        if not 0 <= sharpness < float("inf") or (sharpness == 0 and pooling == "log_sum_exp"):
            raise ValueError(f"sharpness must be > 0, or for attention >= 0, got {sharpness}.")
        if slices_at_once < 1:
            raise ValueError(f"slices_at_once must be >= 1, got {slices_at_once}.")
        self.network, self.pooling, self.sharpness = network, pooling, sharpness
        self.slices_at_once = slices_at_once

    def forward(self, x: Tensor, lengths: Sequence[int]) -> Tensor:
        """Logits ``(B, K)`` of bags, float32 (float64 stays).

        Args:
            x: slices of all bags, one bag after the other, ``(S, C, *S')``.
            lengths: slices of each of the B bags, >= 1; their sum is S.

        Raises:
            ValueError: lengths that do not fit.
        """
        if min(lengths, default=0) < 1 or sum(lengths) != len(x):
            raise ValueError(f"lengths must be >= 1 and sum to {len(x)} slices, got {list(lengths)}.")
        bags = self.slice_logits(x).split(list(lengths))
        return torch.cat([self.pool(logits.T[None]) for logits in bags])

    def pool(self, logits: Tensor) -> Tensor:
        """Logits ``(B, K)`` of bags with slice logits ``(B, K, D)``."""
        if self.pooling == "attention":
            return attention_pooling(logits, self.sharpness)
        return log_sum_exp_pooling(logits, self.sharpness)

    def slice_logits(self, x: Tensor) -> Tensor:
        """Logits ``(S, K)`` of slices ``(S, C, *S')``."""
        passes = -(-len(x) // self.slices_at_once)
        if passes == 1:
            return self.network(x)
        again = self.training and torch.is_grad_enabled()
        parts = [self._again(x[i::passes]) if again else self.network(x[i::passes]) for i in range(passes)]
        order = torch.cat([torch.arange(i, len(x), passes) for i in range(passes)])
        return torch.cat(parts)[order.argsort().to(x.device)]

    def _again(self, x: Tensor) -> Tensor:
        return checkpoint(self.network, x, use_reentrant=False, context_fn=self._contexts)

    def _contexts(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), _statistics_kept(self.network)


@contextmanager
def _statistics_kept(network: nn.Module) -> Iterator[None]:
    """Batch norms count no batch: one that is computed a second time was counted already."""
    norms = [module for module in network.modules() if isinstance(module, _BatchNorm)]
    before = [(norm, norm.momentum, norm.num_batches_tracked) for norm in norms]
    for norm, _, count in before:
        norm.momentum = 0.0
        norm.num_batches_tracked = None if count is None else count.clone()
    try:
        yield
    finally:
        for norm, momentum, count in before:
            norm.momentum, norm.num_batches_tracked = momentum, count
