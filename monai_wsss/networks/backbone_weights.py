"""Start a network from the weights of a backbone that lie in a file."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from pickle import UnpicklingError

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from monai_wsss.errors import InputError

_HEAD = ("head.", "hidden.", "fc.")  # a classifier's own layers on top of the backbone
# The only weights that depend on the number of input channels.
_STEMS = (
    "conv1.weight",
    "conv1.conv.weight",
    "trunk.0.weight",
    "trunk.conv0.weight",
    "encoder.trunk.0.weight",
    "layer0.conv1.weight",
)
# torchvision's name of a trunk, and ours: a classifier's `features` is what it computes
_THEIRS, _OURS = "features.", ("trunk.", "encoder.trunk.")

# torchvision's name of a DenseNet's layers, whose files have a point before the number, and MONAI's.
_DENSE = (re.compile(r"(denselayer\d+)\.(norm|conv)\.?(\d)\."), r"\1.layers.\2\3.")
# Published SE-ResNeXt weights have the names of the first PyTorch port; MONAI's network has others.
_SENET = (
    (re.compile(r"(layer\d\.\d+\.conv\d)\."), r"\1.conv."),
    (re.compile(r"(layer\d\.\d+\.)bn(\d)\."), r"\1conv\2.adn.N."),
    (re.compile(r"\.se_module\.fc1\."), ".se_layer.fc.0."),
    (re.compile(r"\.se_module\.fc2\."), ".se_layer.fc.2."),
    (re.compile(r"\.downsample\.0\."), ".project.conv."),
    (re.compile(r"\.downsample\.1\."), ".project.adn.N."),
)


def load_backbone(network: nn.Module, path: str | Path) -> list[str]:
    """Load a backbone with torchvision's key names into a network.

    The first convolution is adapted to the network's C input channels: its kernels are summed over the file's
    channels and divided by C, so that a grey image gives the response that it had in the backbone as RGB. The
    ``head`` convolutions or ``hidden`` layers and the last layer ``fc`` are taken together if the file has them all and
    their shapes fit, and left alone otherwise; everything else has to fit. torchvision's ``classifier`` of a VGG, an
    AlexNet or a DenseNet and the auxiliary classifiers of its GoogLeNet are ignored.

    Args:
        network: a network with torchvision's key names, such as :class:`ResNetClassifier`, or with
            torchvision's ``features`` under the name ``trunk`` (:class:`VGGClassifier`, :class:`ConvEncoder`,
            :class:`AlexNetClassifier`, :class:`DenseNetClassifier`) or ``encoder.trunk``
            (:class:`FullyConnectedClassifier`), or MONAI's SE-ResNeXt, for which the names of the published
            ``se_resnext50_32x4d`` file are known; changed in place.
        path: ``.safetensors``, or a file that ``torch.load(weights_only=True)`` reads.

    Returns:
        The keys that were loaded, in the network's order.

    Raises:
        InputError: if the file is missing or unreadable, or does not hold this network's weights.
    """
    path = Path(path)
    pattern, name = _DENSE
    file = {pattern.sub(name, key): weight for key, weight in _read(path).items()}
    own = network.state_dict()
    trunk = next((name for name in _OURS if any(key.startswith(name) for key in own)), "")
    if trunk:
        file = {trunk + key.removeprefix(_THEIRS) if key.startswith(_THEIRS) else key: file[key] for key in file}
    elif any(".adn.N." in key for key in own) and not any(".adn.N." in key for key in file):
        file = {_senet_name(key): file[key] for key in file}
    if not own.keys() & file.keys():
        raise InputError(f"{path}: no weight has a name of this network; give one with torchvision's key names.")
    extra = [key for key in file if key.startswith(("layer", "inception", *_OURS)) and key not in own]
    if extra:
        raise InputError(f"{path}: {extra[0]} is not in this network; give a backbone of the same depth.")

    loaded: dict[str, Tensor] = {}
    for key, current in own.items():
        head = key.startswith(_HEAD)
        if key not in file:
            # Files older than batch norm's step counter lack it; it has no effect on the default running average.
            if head or key.endswith("num_batches_tracked"):
                continue
            raise InputError(f"{path}: {key} is missing; give a backbone of the same depth.")
        weight = _fit_channels(file[key], current) if key in _STEMS else file[key]
        if weight.ndim > current.ndim and weight.shape == current.shape + (1,) * (weight.ndim - current.ndim):
            weight = weight.reshape(current.shape)  # a 1x1 convolution of one pixel is a linear layer
        if weight.shape == current.shape:
            loaded[key] = weight
        elif not head:
            shapes = f"{tuple(file[key].shape)}, the network needs {tuple(current.shape)}"
            raise InputError(f"{path}: {key} has shape {shapes}; give a backbone of the same depth and dimension.")
    heads = {key for key in own | file if key.startswith(_HEAD)}
    if not heads <= loaded.keys():  # a linear layer without the convolutions below it means nothing
        loaded = {key: loaded[key] for key in loaded if key not in heads}
    network.load_state_dict(loaded, strict=False)
    return list(loaded)


def _read(path: Path) -> dict[str, Tensor]:
    """Tensors by key; training checkpoints are unwrapped and the prefix of parallel training is dropped."""
    if not path.is_file():
        raise InputError(f"{path}: no such file; give the backbone's weights as .safetensors or .pt.")
    try:
        content: object = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except (SafetensorError, UnpicklingError, RuntimeError, EOFError, OSError, ValueError, LookupError) as error:
        raise InputError(
            f"{path}: cannot be read as plain weights ({type(error).__name__}); save it as .safetensors."
        ) from error
    for wrapper in ("state_dict", "model"):
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
    if not isinstance(content, Mapping):
        raise InputError(f"{path}: holds a {type(content).__name__}, not weights by name; save a state_dict.")
    return {str(key).removeprefix("module."): value for key, value in content.items() if isinstance(value, Tensor)}


def _senet_name(key: str) -> str:
    for pattern, name in _SENET:
        key = pattern.sub(name, key)
    return key


def _fit_channels(kernel: Tensor, current: Tensor) -> Tensor:
    """First kernel ``(F, c, *k)`` for as many input channels as ``current (F, C, *k)`` has."""
    if kernel.ndim != current.ndim or kernel.shape[1] == current.shape[1]:
        return kernel
    channels = current.shape[1]
    share = kernel.float().sum(dim=1, keepdim=True) / channels
    return share.repeat_interleave(channels, dim=1)
