"""Class maps of one forward pass of a network, by the name of the method."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from monai_wsss.inferers.target_layer import target_layer
from monai_wsss.ops.class_map import class_maps
from monai_wsss.ops.gradient_map import grad_cam, grad_cam_plus_plus, layer_cam

METHODS = ("cam", "grad_cam", "grad_cam_pp", "grad_cam_pp_code", "layer_cam")

# Gradients shrink with the number of positions; a power of two keeps float16 from rounding them and changes no float32.
_SCALE = 1024.0


def network_class_maps(method: str, target: str, network: Any, images: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """Raw class maps ``(B, K, *S')`` of images ``(B, C, *S)``, at least in float32.

    Grad-CAM and LayerCAM come times the number of positions: gradients after global pooling shrink with it, and a small
    scale would outweigh a large one in a mean over scales. So Grad-CAM of a classifier with global average pooling and
    one linear layer is the positive part of CAM. Both Grad-CAM++ come as in ``grad_cam_plus_plus``,
    "grad_cam_pp_code" with the logits as its scores.

    Args:
        method: one of ``METHODS``.
        target: dotted name of the layer whose features are weighed; "cam" does without.
        network: for "cam" it has ``features(x, *args, **kwargs) -> (B, F, *S')`` and ``class_weight (K, F)``; else any
            module that gives logits ``(B, K)``, in evaluation mode.
        images: ``(B, C, *S)``.
        args: passed on to the network.
        kwargs: passed on to the network.

    Raises:
        ValueError: if the network is in training mode, in which batch normalisation mixes the images of a batch and
            dropout is random; if its output is no ``(B, K)``; if there is no such layer, or the logits do not depend
            on it.
    """
    if method == "cam":
        return class_maps(network.features(images, *args, **kwargs), network.class_weight)
    if not isinstance(network, nn.Module) or network.training:
        raise ValueError(f"{method} needs a network in evaluation mode; call network.eval() first.")
    with target_layer(network, target) as layer:
        logits = network(images, *args, **kwargs)
        if not isinstance(logits, Tensor) or logits.ndim != 2 or len(logits) != len(images):
            raise ValueError(f"{method} needs a network that gives logits (B, K), got {_kind(logits)}.")
        features = layer.features
        # One class at a time: the gradients of all K at once would take K times the memory, and no less time.
        maps = [
            _maps(method, features.detach(), _gradient(logits, features, k, target), logits[:, k : k + 1].detach())
            for k in range(logits.shape[1])
        ]
    return torch.cat(maps, dim=1)


def _gradient(logits: Tensor, features: Tensor, k: int, target: str) -> Tensor:
    """Gradients ``(B, 1, F, *S')`` of each image's logit k, at least in float32."""
    # In evaluation mode no logit depends on another image, so the batch's sum has each image's own gradient.
    score = logits[:, k].sum()
    found = None
    if score.requires_grad:  # not so, if the network turns gradients off by itself
        scale = torch.full_like(score, _SCALE)
        (found,) = torch.autograd.grad(score, features, scale, retain_graph=k + 1 < logits.shape[1], allow_unused=True)
    if found is None:
        raise ValueError(f"the logits do not depend on layer {target!r}; name one between the image and the logits.")
    return (found.to(torch.promote_types(found.dtype, torch.float32)) / _SCALE).unsqueeze(1)


@torch.no_grad()
def _maps(method: str, features: Tensor, gradients: Tensor, scores: Tensor) -> Tensor:
    if method == "grad_cam_pp":
        return grad_cam_plus_plus(features, gradients)
    if method == "grad_cam_pp_code":
        return grad_cam_plus_plus(features, gradients, variant="reference_code", scores=scores)
    maps = (grad_cam if method == "grad_cam" else layer_cam)(features, gradients)
    return maps * maps[0, 0].numel()


def _kind(output: object) -> str:
    return str(tuple(output.shape)) if isinstance(output, Tensor) else type(output).__name__
