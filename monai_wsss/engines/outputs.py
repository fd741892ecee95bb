"""What Ignite metrics read from an engine's output."""

from typing import Any

import torch
from monai.utils.enums import CommonKeys


def loss_output(output: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Prediction and target as they are, in float32, for `ignite.metrics.Loss`."""
    return output[CommonKeys.PRED].float(), output[CommonKeys.LABEL]


def label_output(output: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Scores per class and the CRF mask, for `ignite.metrics.ConfusionMatrix`, which leaves out ignored pixels.

    Returns:
        `(B, L, *S)` scores, background first (a one-channel head counts as lesion above logit 0), and the last channel
        of the label, `(B, *S)`.
    """
    scores = output[CommonKeys.PRED]
    if scores.shape[1] == 1:
        scores = torch.cat([torch.zeros_like(scores), scores], dim=1)
    return scores, output[CommonKeys.LABEL][:, -1].long()


def label_map(logits: torch.Tensor) -> torch.Tensor:
    """Labels `(B, *S)`, uint8, of logits `(B, C, *S)`: the argmax, or for a one-channel head 1 above logit 0."""
    labels = logits.argmax(1) if logits.shape[1] > 1 else logits[:, 0] > 0
    return labels.to(torch.uint8)
