import gc
import weakref
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from monai_wsss.inferers.target_layer import target_layer


class Net(nn.Module):
    """Two convolutions with a layer named ``body.last`` between them."""

    def __init__(self, after: nn.Module | None = None) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential()
        self.body.add_module("conv", nn.Conv2d(1, 3, 3, padding=1))
        self.body.add_module("last", nn.Identity())
        self.after = after or nn.ReLU(inplace=True)
        self.fc = nn.Linear(3, 2)
        self.graph_before = True

    def forward(self, x: Tensor) -> Tensor:
        before = self.body.conv(x)
        self.graph_before = before.requires_grad
        return self.fc(self.after(self.body.last(before)).mean(dim=(2, 3)))


IMAGES = torch.linspace(-1, 1, 32).reshape(2, 1, 4, 4)


def hooks(network: nn.Module) -> int:
    kinds = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks")
    return sum(len(getattr(module, kind)) for module in network.modules() for kind in kinds)


def gradient(network: nn.Module, k: int = 0) -> tuple[Tensor, Tensor]:
    with target_layer(network, "body.last") as layer:
        logits = network(IMAGES)
        (found,) = torch.autograd.grad(logits[:, k].sum(), layer.features)
        return layer.features.detach(), found


def test_features_and_gradient() -> None:
    # The logit is the mean of ReLU(A) times the weight, so the gradient is weight / 16 where A > 0.
    net = Net()
    expected = net.body.conv(IMAGES).detach()
    features, found = gradient(net, k=1)
    torch.testing.assert_close(features, expected)  # the ReLU after it works in place and spoils nothing
    torch.testing.assert_close(found, net.fc.weight[1].detach().view(1, 3, 1, 1) / 16 * (expected > 0))


def test_the_logits_stay_the_same() -> None:
    net = Net()
    expected = net(IMAGES)
    with target_layer(net, "body.last"):
        assert torch.equal(net(IMAGES), expected)


def test_the_graph_begins_at_the_layer() -> None:
    net = Net()
    images = IMAGES.clone().requires_grad_()
    with target_layer(net, "body.last") as layer:
        logits = net(images)
        assert not net.graph_before and logits.requires_grad and layer.features.is_leaf
        (reached,) = torch.autograd.grad(logits.sum(), images, allow_unused=True)
        assert reached is None


@pytest.mark.parametrize("mode", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_any_gradient_mode_gives_the_same_and_comes_back(mode) -> None:
    expected = gradient(Net())
    net = Net()
    with mode():
        before = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
        found = gradient(net)
        assert (torch.is_grad_enabled(), torch.is_inference_mode_enabled()) == before
    for a, b in zip(found, expected, strict=True):
        assert torch.equal(a, b)


def test_a_layer_that_passes_on_an_inference_tensor() -> None:
    net = nn.Sequential(nn.Identity(), nn.Flatten(), nn.Linear(16, 2))
    with torch.inference_mode(), target_layer(net, "0") as layer:
        assert torch.autograd.grad(net(IMAGES * 2)[:, 0].sum(), layer.features)[0].shape == IMAGES.shape


@pytest.mark.parametrize("frozen", [False, True])
def test_parameters_stay_as_they_are(frozen: bool) -> None:
    net = Net().requires_grad_(not frozen)
    net.fc.bias.grad = torch.tensor([1.0, 2.0])
    gradient(net)
    assert all(p.requires_grad is not frozen for p in net.parameters())
    assert net.fc.bias.grad.tolist() == [1.0, 2.0]
    assert [name for name, p in net.named_parameters() if p.grad is not None] == ["fc.bias"]


class Breaks(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        raise KeyError("broken")


def test_nothing_is_left_after_an_exception() -> None:
    net = Net(Breaks())
    with torch.no_grad():
        with pytest.raises(KeyError, match="broken"):
            gradient(net)
        assert not torch.is_grad_enabled()
    assert hooks(net) == 0


@pytest.fixture
def no_collector() -> Iterator[None]:
    """What is let go of must go at once, not when the collector of cycles runs."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_no_hook_and_no_tensor_is_left(no_collector: None) -> None:
    net = Net()
    net.fc.register_forward_hook(lambda *_: None)  # someone else's stays
    with target_layer(net, "body.last") as layer:
        logits = net(IMAGES)
        assert hooks(net) == 2
        seen = weakref.ref(layer.features)
        assert seen() is not None
    del logits
    assert hooks(net) == 1
    assert seen() is None  # though `layer` is still here
    assert layer.name == "body.last"


def test_refuses_a_name_and_says_the_near_ones() -> None:
    with (
        pytest.raises(ValueError, match=r"Net has no layer 'body\.lost'; near names: body\.last"),
        target_layer(Net(), "body.lost"),
    ):
        pass
    for name in ("qqq", "", "fc.weight."):
        with pytest.raises(ValueError, match=r"near names: .*fc"), target_layer(Net(), name):
            pass


def test_refuses_a_layer_called_twice() -> None:
    class Twice(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.body.last(x))

    net = Twice()
    with pytest.raises(ValueError, match=r"'body\.last' is called more than once"):
        gradient(net)
    assert hooks(net) == 0


def test_refuses_a_layer_that_is_never_called() -> None:
    net = Net()
    net.spare = nn.Identity()
    with pytest.raises(ValueError, match="'spare' was not called"), target_layer(net, "spare") as layer:
        net(IMAGES)
        _ = layer.features


@pytest.mark.parametrize(("output", "kind"), [((IMAGES,), "tuple"), (IMAGES.long(), "int64")])
def test_refuses_what_has_no_gradient(output: object, kind: str) -> None:
    class Gives(nn.Module):
        def forward(self, x: Tensor) -> object:
            return output

    with (
        pytest.raises(ValueError, match=f"'after' must give one tensor of floats, got .*{kind}"),
        target_layer(Net(Gives()), "after") as layer,
    ):
        layer.capture(nn.Identity(), (), output)
