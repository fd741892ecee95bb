"""Learning rates by layer and by epoch."""

import pytest
import torch
from torch import nn

from monai_wsss.engines import make_optimizer, make_schedule, parameter_groups


class Tiny(nn.Module):
    def __init__(self):
        super().__init__()
        self.body = nn.Linear(2, 2)
        self.fc = nn.Linear(2, 1)
        self.fcc = nn.Linear(1, 1, bias=False)  # no part of fc, whatever its name begins with


def rates(network, **factors):
    groups = parameter_groups(network, 0.1, ("fc",), **factors)
    by_id = {id(p): group["lr"] for group in groups for p in group["params"]}
    return {name: by_id.get(id(p)) for name, p in network.named_parameters()}


def test_new_layers_and_biases_have_rates_of_their_own():
    found = rates(Tiny(), new_factor=10.0, bias_factor=2.0)
    expected = {"body.weight": 0.1, "body.bias": 0.2, "fc.weight": 1.0, "fc.bias": 2.0, "fcc.weight": 0.1}
    assert found == pytest.approx(expected)


def test_without_factors_there_is_one_group_in_the_networks_order():
    network = Tiny()
    (group,) = parameter_groups(network, 0.1, ("fc",))
    assert [id(p) for p in group["params"]] == [id(p) for p in network.parameters()]


def test_frozen_parameters_are_left_out():
    network = Tiny()
    network.body.requires_grad_(False)
    found = rates(network, new_factor=10.0)
    assert found["body.weight"] is None
    assert found["fc.weight"] == pytest.approx(1.0)


def test_a_distributed_wrapper_changes_nothing():
    wrapped = nn.Module()
    wrapped.module = Tiny()
    assert rates(wrapped, new_factor=10.0)["module.fc.weight"] == pytest.approx(1.0)


@pytest.mark.parametrize(("name", "kind"), [("adam", "Adam"), ("radam", "RAdam"), ("sgd", "SGD")])
def test_optimizers_by_name(name, kind):
    optimizer = make_optimizer(name, parameter_groups(Tiny(), 0.1), weight_decay=0.5, momentum=0.7)
    assert type(optimizer).__name__ == kind
    assert optimizer.param_groups[0]["weight_decay"] == 0.5
    if name == "sgd":  # momentum and weight decay each in its own slot
        assert optimizer.param_groups[0]["momentum"] == 0.7


def test_biases_without_weight_decay_stay_where_they_are_without_a_gradient():
    """One SGD step at rate 0.1 and decay 0.5 with zero gradients: a weight loses 5 %, a bias nothing."""
    network = Tiny()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    optimizer = make_optimizer("sgd", parameter_groups(network, 0.1, ("fc",), decay_biases=False), weight_decay=0.5)
    for parameter in network.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    for name, value in network.state_dict().items():
        assert torch.allclose(value, before[name] * (1.0 if name.endswith("bias") else 0.95)), name


def test_weight_decay_and_learning_rate_of_biases_are_independent():
    groups = parameter_groups(Tiny(), 0.1, ("fc",), new_factor=10.0, bias_factor=2.0, decay_biases=False)
    assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.2, 1.0, 2.0])
    assert [group.get("weight_decay") for group in groups] == [None, 0.0, None, 0.0]


@pytest.mark.parametrize("factor", [0.0, -1.0])
def test_bad_values_are_refused(factor):
    with pytest.raises(ValueError, match="factors"):
        parameter_groups(Tiny(), 0.1, new_factor=factor)
    with pytest.raises(ValueError, match="submodules of Tiny, got heads"):
        parameter_groups(Tiny(), 0.1, new=("heads",))
    with pytest.raises(ValueError, match="adam, radam, sgd, got lion"):
        make_optimizer("lion", parameter_groups(Tiny(), 0.1))


def rates_over_time(**options):
    optimizer = make_optimizer("sgd", parameter_groups(Tiny(), 1.0))
    schedule = make_schedule(optimizer=optimizer, epochs=4, epoch_length=2, **options)
    found = []
    for _ in range(8):
        found.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return found


def test_polynomial_falls_with_every_iteration():
    expected = [1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]
    assert rates_over_time(name="polynomial", power=1.0) == pytest.approx(expected)


def test_steps_fall_after_whole_epochs():
    found = rates_over_time(name="step", step_epochs=2, step_factor=0.1)
    assert found == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1])


def test_another_schedule_is_refused():
    with pytest.raises(ValueError, match="polynomial or step, got cosine"):
        rates_over_time(name="cosine")
