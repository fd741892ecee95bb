"""The features of one layer, as leaves that the logits can be differentiated by."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from difflib import get_close_matches

import torch
from torch import Tensor, nn


class TargetLayer:
    """What the layer ``name`` gave in a forward pass."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._features: Tensor | None = None

    @property
    def features(self) -> Tensor:
        """Output of the layer, a leaf that requires a gradient.

        Raises:
            ValueError: if the network ran without the layer, or not at all.
        """
        if self._features is None:
            raise ValueError(f"layer {self.name!r} was not called in the forward pass.")
        return self._features

    def capture(self, module: nn.Module, inputs: tuple[object, ...], output: object) -> Tensor:
        """Forward hook: keep the output and cut the graph before it.

        Raises:
            ValueError: if this is the layer's second call, or its output is no tensor of floats.
        """
        if self._features is not None:
            raise ValueError(f"layer {self.name!r} is called more than once in a forward pass; name one called once.")
        if not isinstance(output, Tensor) or not output.is_floating_point():
            kind = output.dtype if isinstance(output, Tensor) else type(output).__name__
            raise ValueError(f"layer {self.name!r} must give one tensor of floats, got {kind}.")
        # An inference tensor can be no leaf, but its copy can.
        output = output.clone() if output.is_inference() else output.detach()
        self._features = output.requires_grad_()
        torch.set_grad_enabled(True)  # until the context ends
        return self._features.clone()  # what follows may work in place

    def clear(self) -> None:
        """Let go of the features."""
        self._features = None


@contextmanager
def target_layer(network: nn.Module, name: str) -> Iterator[TargetLayer]:
    """Run a network once so that its logits have a graph that begins at a layer's output.

    Nothing before the layer is part of the graph, what follows it is, even within ``torch.no_grad`` or
    ``torch.inference_mode``. At the end, after an exception too, the hook is gone, the features are let go of, and
    gradients are enabled or not as before. Parameters keep their ``requires_grad`` and, as long as
    ``torch.autograd.grad`` is asked for the features only, their ``grad``. One thread at a time.

        with target_layer(network, "layer4") as layer:
            logits = network(images)
            (gradient,) = torch.autograd.grad(logits[:, 0].sum(), layer.features)

    Args:
        network: any network.
        name: dotted name of a submodule that a forward pass calls once and that gives one tensor.

    Raises:
        ValueError: if there is no such submodule.
    """
    layer = TargetLayer(name)
    handle = _submodule(network, name).register_forward_hook(layer.capture)
    try:
        with torch.inference_mode(False), torch.no_grad():
            yield layer
    finally:
        handle.remove()
        layer.clear()


def _submodule(network: nn.Module, name: str) -> nn.Module:
    names = [known for known, _ in network.named_modules(remove_duplicate=False) if known]
    if name not in names:
        near = get_close_matches(name, names, n=5, cutoff=0.4) or [known for known, _ in network.named_children()]
        raise ValueError(f"{type(network).__name__} has no layer {name!r}; near names: {', '.join(near) or 'none'}.")
    return network.get_submodule(name)
