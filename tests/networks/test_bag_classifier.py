"""A study's logit from its slices'."""

import copy
import math

import pytest
import torch
from torch import nn

from monai_wsss.losses import WeightedBCELoss
from monai_wsss.networks import ResNetClassifier
from monai_wsss.networks.nets.bag_classifier import BagClassifier


class Mean(nn.Module):
    """Logits of a slice: the means of its channels."""

    def forward(self, x):
        return x.flatten(2).mean(dim=2)


def images(*logits):
    """Slices `(S, K, 2, 2)` with these logits."""
    return torch.tensor(logits)[..., None, None].expand(-1, -1, 2, 2)


LOGITS = [[0.0, 1.0], [math.log(3), 1.0], [-2.0, 5.0]]  # a bag of two slices and one of a single


@pytest.mark.parametrize(
    ("pooling", "sharpness", "first"),
    [
        ("log_sum_exp", 1.0, math.log((1 + 3) / 2)),
        ("log_sum_exp", 2.0, math.log((1 + 9) / 2) / 2),
        ("attention", 1.0, math.log(3) * 3 / 4),
        ("attention", 0.0, math.log(3) / 2),
    ],
)
@pytest.mark.parametrize("at_once", [1, 2, 16])
def test_by_hand(pooling, sharpness, first, at_once):
    bags = BagClassifier(Mean(), pooling, sharpness, at_once)
    expected = torch.tensor([[first, 1.0], [-2.0, 5.0]])
    torch.testing.assert_close(bags(images(*LOGITS), [2, 1]), expected)


@pytest.mark.parametrize("pooling", ["log_sum_exp", "attention"])
def test_between_the_mean_and_the_maximum_whatever_the_order(pooling):
    x = torch.randn(9, 3, 2, 2, generator=torch.Generator().manual_seed(0))
    soft, sharp = (BagClassifier(Mean(), pooling, s)(x, [9])[0] for s in (1e-3, 500.0))
    torch.testing.assert_close(soft, Mean()(x).mean(0), atol=1e-2, rtol=0)
    torch.testing.assert_close(sharp, Mean()(x).amax(0), atol=2e-2, rtol=0)
    torch.testing.assert_close(BagClassifier(Mean(), pooling)(x.flip(0), [9]), BagClassifier(Mean(), pooling)(x, [9]))


def test_bags_together_are_bags_alone():
    x = torch.randn(11, 2, 2, 2, generator=torch.Generator().manual_seed(1))
    bags = BagClassifier(Mean(), slices_at_once=4)
    alone = [bags(part, [len(part)]) for part in x.split([5, 1, 3, 2])]
    torch.testing.assert_close(bags(x, [5, 1, 3, 2]), torch.cat(alone))


def normless():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 6 * 6, 2)).double()


def step(network, x, lengths, labels, at_once):
    bags = BagClassifier(network, slices_at_once=at_once).train()
    WeightedBCELoss()(bags(x, lengths), labels).backward()
    return [p.grad for p in network.parameters()]


def test_gradients_do_not_depend_on_the_slices_at_once():
    x = torch.randn(7, 1, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    labels = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    whole = step(normless(), x, [5, 2], labels, 7)
    for at_once in (1, 2, 3, 6):
        for got, expected in zip(step(normless(), x, [5, 2], labels, at_once), whole, strict=True):
            torch.testing.assert_close(got, expected)


def test_an_unknown_label_teaches_nothing_and_a_negative_study_pushes_every_slice_down():
    x = images(*LOGITS).clone().requires_grad_()
    WeightedBCELoss()(BagClassifier(Mean())(x, [2, 1]), torch.tensor([[0.0, -1.0], [-1.0, -1.0]])).backward()
    slices = x.grad.sum(dim=(2, 3))
    assert (slices[:2, 0] > 0).all() and not slices[2].any() and not slices[:, 1].any()


def test_batch_statistics_are_counted_once():
    """Passes are computed again for the gradient; the running statistics are those of passes by hand."""
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2 * 4, 1))
    by_hand, x = copy.deepcopy(network), torch.randn(5, 1, 4, 4)
    step(network, x, [2, 3], torch.ones(2, 1), at_once=2)  # 3 passes: slices 0 and 3, 1 and 4, 2
    for i in range(3):
        by_hand(x[i::3])
    assert network[1].momentum == 0.1 and network[1].num_batches_tracked == 3
    for name, value in by_hand.state_dict().items():
        torch.testing.assert_close(network.state_dict()[name], value)


def test_dropout_draws_the_same_again():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(4, 1)).double()
    x = torch.randn(6, 1, 2, 2, dtype=torch.float64)
    seen = []
    network[1].register_forward_hook(lambda module, args, out: seen.append(out.detach()))
    gradient = step(network, x, [6], torch.ones(1, 1), at_once=3)[0]
    assert len(seen) == 4  # two passes, each twice: the last first or the first first
    torch.testing.assert_close(torch.cat(seen[:2]).sum(), torch.cat(seen[2:]).sum())
    logits = network[2](torch.cat(seen[:2]))
    pooled = (logits.logsumexp(0) - math.log(6)).sum()
    by_hand = torch.autograd.grad(nn.functional.softplus(-pooled), network[2].weight)[0]
    torch.testing.assert_close(gradient, by_hand)


def kept_bytes(at_once):
    """Bytes that autograd holds for the gradient of 16 slices, the parameters aside."""
    torch.manual_seed(0)
    network = ResNetClassifier(depth=18, num_classes=1, width=0.125)
    own, kept = {p.data_ptr() for p in network.parameters()}, {}

    def pack(tensor):
        if tensor.data_ptr() not in own:
            kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    x = torch.randn(16, 1, 32, 32)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        out = BagClassifier(network, slices_at_once=at_once)(x, [16])
    del out
    return sum(kept.values())


def test_memory_holds_no_activations_of_all_slices():
    assert kept_bytes(4) < kept_bytes(16) / 10  # the images themselves, and what pools the logits


def test_half_precision_pools_in_float32():
    with torch.autocast("cpu", torch.bfloat16):
        out = BagClassifier(nn.Sequential(nn.Flatten(), nn.Linear(4, 1)), slices_at_once=2)(torch.ones(5, 1, 2, 2), [5])
        assert out.dtype == torch.float32
        out.sum().backward()


def test_the_weights_are_the_slice_classifiers_own():
    network = ResNetClassifier(depth=18, num_classes=1, width=0.125)
    assert list(BagClassifier(network).network.state_dict()) == list(network.state_dict())
    assert BagClassifier(network).network is network


@pytest.mark.parametrize("lengths", [[], [2], [2, 2], [3, 0], [4, -1]])
def test_lengths_that_do_not_fit_are_refused(lengths):
    with pytest.raises(ValueError, match="sum to 3 slices"):
        BagClassifier(Mean())(images(*LOGITS), lengths)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"pooling": "max"}, "pooling must be one of log_sum_exp, attention, got max"),
        ({"sharpness": 0}, "sharpness must be > 0"),
        ({"sharpness": -1, "pooling": "attention"}, "sharpness must be > 0"),
        ({"sharpness": math.inf}, "sharpness must be > 0"),
        ({"sharpness": math.nan}, "sharpness must be > 0"),
        ({"slices_at_once": 0}, "slices_at_once must be >= 1, got 0"),
    ],
)
def test_bad_settings_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        BagClassifier(Mean(), **options)
