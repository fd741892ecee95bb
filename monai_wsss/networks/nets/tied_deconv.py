"""A localiser whose deconvolutions share the weights of its convolutions."""

import re
from collections.abc import Mapping
from typing import cast

import torch
from monai.networks.layers.factories import Conv
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.networks.nets.conv_encoder import ConvEncoder
from monai_wsss.ops.log_sum_exp_pooling import ACTIVATIONS, activate_maps, pooled_logits

_MOST_STAGES = 3  # Tables 1 and 2: the fourth and the fifth deconvolution are not used
_NORMALISE = ("image", "channel")


class TransposedConv(nn.Module):
    """A convolution's transpose with its own bias, and ReLU: ``h_out = relu(h * W^T + b)``.

    Args:
        conv: the convolution whose channels it has the other way round.
        tied: take W from the caller, so that one parameter serves both; else an own weight, by He's rule.
    """

    def __init__(self, conv: nn.Conv2d | nn.Conv3d, tied: bool = True) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(conv.in_channels))
        self.weight = None if tied else nn.Parameter(torch.empty_like(conv.weight))
        if self.weight is not None:
            # A transposed weight is (in, out, *kernel), so that its fan-in is what torch calls fan-out
            nn.init.kaiming_normal_(self.weight, mode="fan_out", nonlinearity="relu")
        self.padding: int = cast(int, conv.padding[0])

    def forward(self, x: Tensor, weight: Tensor) -> Tensor:
        """Features ``(B, in, *S)`` of ``(B, out, *S)``; ``weight`` is the convolution's ``(out, in, *kernel)``."""
        own = self.weight
        if own is not None:
            weight = own
        if x.ndim == 5:
            x = torch.conv_transpose3d(x, weight, self.bias, padding=self.padding)
        else:
            x = torch.conv_transpose2d(x, weight, self.bias, padding=self.padding)
        return torch.relu_(x)


class Deconvolution(nn.Module):
    """Unpooling by stored switches, then the transposes of a block's convolutions, last first.

    Args:
        convs: the block's convolutions.
        tied: see :class:`TransposedConv`.
    """

    def __init__(self, convs: list[nn.Conv2d | nn.Conv3d], tied: bool = True) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TransposedConv(conv, tied) for conv in reversed(convs))

    def forward(self, x: Tensor, indices: Tensor, size: list[int], weights: list[Tensor]) -> Tensor:
        """Features ``(B, C', *size)`` of ``(B, C, *S)``.

        Args:
            x: features ``(B, C, *S)``.
            indices: where the pooling found each of them, in the flattened map; the same shape.
            size: of the map before the pooling.
            weights: of the block's convolutions.
        """
        # As torch's max_unpool, but in one form for 2D and 3D, and deterministic
        positions = 1
        for edge in size:
            positions *= edge
        flat = x.new_zeros([x.shape[0], x.shape[1], positions]).scatter(2, indices.flatten(2), x.flatten(2))
        x = flat.unflatten(2, size)
        for number, layer in enumerate(self.layers):
            x = layer(x, weights[len(weights) - 1 - number])
        return x


class TiedDeconvNet(nn.Module):
    """Class maps from the stacked features of the last convolution and of tied deconvolutions.

    ``f = C{E{h_c}, E{h_d^1}, ..., E{h_d^n}}``, ``h = f * W_m + b_m``, with the concatenation C over channels and E the
    normalisation to zero mean and unit variance, repeated to the size of the last deconvolution's features.
    ``h_d^j`` comes from ``h_d^{j-1}`` by unpooling with the switches of pooling 6 - j and by the transposed weights of
    convolution 6 - j, which are the encoder's own parameters: gradients of both uses add up.

    In training mode `forward` gives the raw class maps, in evaluation mode mask logits at the image's size. Only what
    lies above ``threshold`` is lesion in the `relu` form; the threshold is set after training and saved with the
    weights.

    Args:
        name: of the convolutions, `tuberculosis` (Table 1) or `vgg16` (Table 2).
        spatial_dims: 2 or 3.
        in_channels: channels of the image.
        num_classes: number of classes K, without the background.
        deconv_stages: deconvolutions n, 0 to 3; 0 is the paper's baseline.
        activation: sigma of the class maps: `relu` for K = 1, `softmax` over the K + 1 maps for any K.
        tied: deconvolutions use the convolutions' weights (Eq. 3); else their own.
        normalise: what E takes together: `image`, all channels and positions, which leaves the channels' relative
            strength; `channel`, the positions of each.
        sharpness: s of the log-sum-exp pooling.
        width: factor on all channels but the maps'; 1 is the published network.
        map_bias: what b_m begins with. Above 0 every map of the `relu` form begins alive, and a short training is
            unlikely to leave one at 0 everywhere, from where no gradient leads back. The paper does not say.

    Raises:
        ValueError: if an argument is out of range.

    Attributes:
        threshold: least value of a lesion's map, ``(K,)``, in units of ``sigma(h)``.
        out_channels: of the mask logits.

    Source: Kim and Hwang, Deconvolutional feature stacking, 2016, Eqs. 2 to 6, Tables 1 and 2.
    """

    threshold: Tensor

    def __init__(
        self,
        name: str = "tuberculosis",
        spatial_dims: int = 2,
        in_channels: int = 1,
        num_classes: int = 1,
        deconv_stages: int = 3,
        activation: str = "relu",
        tied: bool = True,
        normalise: str = "image",
        sharpness: float = 5.0,
        width: float = 1.0,
        map_bias: float = 0.0,
    ) -> None:
        super().__init__()
        if not 0 <= deconv_stages <= _MOST_STAGES:
            raise ValueError(f"deconv_stages must be 0 to {_MOST_STAGES}, got {deconv_stages}.")
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation must be {' or '.join(ACTIVATIONS)}, got {activation}.")
        if num_classes < 1 or (activation == "relu" and num_classes != 1):
            raise ValueError(f"num_classes must be 1 with relu and 1 or more with softmax, got {num_classes}.")
        if normalise not in _NORMALISE:
            raise ValueError(f"normalise must be {' or '.join(_NORMALISE)}, got {normalise}.")
        if not 0 < sharpness < float("inf"):
            raise ValueError(f"sharpness must be > 0 and finite, got {sharpness}.")
        self.activation, self.sharpness, self.normalise = activation, sharpness, normalise
        self.out_channels = 1 if activation == "relu" else num_classes + 1
        self.encoder = ConvEncoder(name, spatial_dims, in_channels, width)
        blocks = [self.encoder.convolutions()[first:end] for first, end in reversed(self.encoder.spans)]
        self.deconvs = nn.ModuleList(Deconvolution(convs, tied) for convs in blocks[:deconv_stages])
        # Channels of the stack: the last convolution's, then each deconvolution's
        self.stack_channels = [self.encoder.out_channels, *(convs[0].in_channels for convs in blocks[:deconv_stages])]
        self.map_conv = Conv[Conv.CONV, spatial_dims](sum(self.stack_channels), num_classes + 1, kernel_size=1)
        nn.init.constant_(self.map_conv.bias, map_bias)
        self.register_buffer("threshold", torch.zeros(num_classes))

    def forward(self, x: Tensor) -> Tensor:
        """In training the raw class maps, else logits of the masks of images ``(B, C, *S)``.

        Returns:
            Training: h, ``(B, K + 1, *S')``, background first, with S' the size of the last features. Evaluation:
            `relu` ``(B, 1, *S)``, the enlarged ``sigma(h)_1 - threshold``, for a sigmoid; `softmax`
            ``(B, K + 1, *S)``, logarithms of the enlarged probabilities.
        """
        maps = self.maps(x)
        if self.training:
            return maps
        active = F.interpolate(
            activate_maps(maps, self.activation),
            size=x.shape[2:],
            mode="trilinear" if x.ndim == 5 else "bilinear",
            align_corners=False,
        )
        if self.activation == "relu":
            return active[:, 1:] - self.threshold.reshape([1, -1] + [1] * (x.ndim - 2))
        return active.clamp(min=1e-30).log()

    def maps(self, x: Tensor) -> Tensor:
        """Raw class maps h ``(B, K + 1, *S')`` of images ``(B, C, *S)``, background first, whatever the mode."""
        features, switches = self.encoder(x)
        weights = self.encoder.weights()
        levels = [features]
        for stage, deconv in enumerate(self.deconvs):
            block = len(switches) - 1 - stage
            indices, size = switches[block]
            first, end = self.encoder.spans[block]
            features = deconv(features, indices, size, weights[first:end])
            levels.append(features)
        # A 1x1 convolution of the stack is the sum of 1x1 convolutions of its parts, and enlarging a few maps instead
        # of all features is the same numbers at a fraction of the memory
        kernel, bias = self.map_conv.weight.flatten(1), self.map_conv.bias
        assert bias is not None  # for TorchScript, to which every convolution's bias is optional
        size, first = features.shape[2:], 0
        maps = torch.zeros_like(features[:, :1], dtype=torch.promote_types(features.dtype, torch.float32))
        for level in levels:
            end = first + level.shape[1]
            part = torch.matmul(kernel[:, first:end], self._standardise(level).flatten(2))
            part = part.to(maps.dtype)  # half precision where autocast is on
            maps = maps + F.interpolate(part.unflatten(2, level.shape[2:]), size=size, mode="nearest-exact")
            first = end
        return maps + bias.reshape([1, -1] + [1] * (x.ndim - 2))

    @torch.jit.export
    def lesion_maps(self, x: Tensor) -> Tensor:
        """``sigma(h)`` of the K classes, ``(B, K, *S')``, of images ``(B, C, *S)``: what the threshold looks at."""
        return activate_maps(self.maps(x), self.activation)[:, 1:]

    @torch.jit.export
    def image_logits(self, maps: Tensor) -> Tensor:
        """Logits ``(B, K)`` of the classes in the images, from raw class maps ``(B, K + 1, *S')``."""
        logits = pooled_logits(maps, self.activation, self.sharpness)
        return logits if self.activation == "relu" else logits[:, 1:]

    def _standardise(self, level: Tensor) -> Tensor:
        """Features ``(B, C, *S)`` at zero mean and unit variance, float32 (float64 stays); constant ones become 0."""
        features = level.to(torch.promote_types(level.dtype, torch.float32))
        dims = list(range(1 if self.normalise == "image" else 2, level.ndim))
        variance, mean = torch.var_mean(features, dim=dims, correction=0, keepdim=True)
        return (features - mean) * (variance + 1e-5).rsqrt()

    @torch.jit.unused
    def train_only(self, trains: str = "all") -> None:
        """Choose the convolutions that training may change; nothing else is ever frozen.

        Args:
            trains: `all`, or `tied`: only those that a deconvolution mirrors (4.2, natural images).

        Raises:
            ValueError: another choice.
        """
        if trains not in ("all", "tied"):
            raise ValueError(f"trains must be all or tied, got {trains}.")
        mirrored = self.encoder.spans[len(self.encoder.spans) - len(self.deconvs) :]
        first = mirrored[0][0] if mirrored else len(self.encoder.trunk)
        for number, conv in enumerate(self.encoder.trunk.values()):
            conv.requires_grad_(trains == "all" or number >= first)

    @torch.jit.unused
    def start_from(self, state: Mapping[str, Tensor]) -> None:
        """Take the weights of the classifier or of an earlier stage.

        The encoder is taken whole, further the deconvolutions that the earlier stage has, and the map convolution's
        weights of their channels. Those of new channels become 0, so that the image-level scores start where the
        earlier stage ended. Without a map convolution in ``state`` this network's stays. The threshold is not taken.

        Args:
            state: state of a :class:`FullyConnectedClassifier` or of a :class:`TiedDeconvNet`.

        Raises:
            ValueError: if the weights are of another network, or of a later stage.
        """
        own = self.state_dict()
        extra = [key for key in state if key.startswith(("encoder.", "deconvs.")) and key not in own]
        if extra:
            raise ValueError(f"{extra[0]} is not in this network; start from an earlier stage of the same network.")
        stages = {match[0] for key in state if (match := re.match(r"deconvs\.\d+\.", key))}
        channels = sum(self.stack_channels[: len(stages) + 1])
        loaded: dict[str, Tensor] = {}
        for key, current in own.items():
            if key not in state and key.startswith(("encoder.", *stages)):
                raise ValueError(f"{key} is missing; start from an earlier stage of the same network.")
            if key not in state or key == "threshold":
                continue
            fits = current[:, :channels] if key == "map_conv.weight" else current
            if state[key].shape != fits.shape:
                shapes = f"{tuple(state[key].shape)}, the network needs {tuple(fits.shape)}"
                raise ValueError(f"{key} has shape {shapes}; start from the same network and width.")
            loaded[key] = state[key]
            if key == "map_conv.weight":
                loaded[key] = torch.cat([state[key].to(current), torch.zeros_like(current[:, channels:])], dim=1)
        self.load_state_dict(loaded, strict=False)


class ImageScores(nn.Module):
    """A localiser as a classifier: logits ``(B, K)`` of images, pooled from its class maps.

    Args:
        network: a :class:`TiedDeconvNet`.
    """

    def __init__(self, network: TiedDeconvNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits ``(B, K)`` of images ``(B, C, *S)``."""
        return self.network.image_logits(self.network.maps(x))
