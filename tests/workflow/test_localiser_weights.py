"""From which weights each stage of a localiser starts."""

import pytest
import torch
from tiny_localiser import TinyLocaliser

from monai_wsss.errors import InputError
from monai_wsss.workflow.localiser_weights import localiser_folders, localiser_start


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ((0, 3), ("baseline", "classifier")),
        ((1, 3), ("deconv1", "baseline")),
        ((2, 3), ("deconv2", "deconv1")),
        ((None, 3), ("segmenter", "deconv2")),
        ((3, 3), ("segmenter", "deconv2")),
        ((None, 1), ("segmenter", "baseline")),
        ((0, 1), ("baseline", "classifier")),
        ((None, 0), ("segmenter", "classifier")),
        ((None, 3, "end_to_end"), ("segmenter", None)),
        ((None, 0, "end_to_end"), ("segmenter", None)),
    ],
)
def test_order_of_the_stages(arguments, expected):
    assert localiser_folders(*arguments) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((None, 4), r"deconv_stages must lie in 0\.\.3, got 4"),
        ((None, -1), r"deconv_stages must lie in 0\.\.3, got -1"),
        ((2, 1), r"trained_stage must lie in 0\.\.1, got 2"),
        ((-1, 1), r"trained_stage must lie in 0\.\.1, got -1"),
        ((None, 3, "at_once"), "deconv_training must be one of layer_by_layer, end_to_end, got at_once"),
        ((0, 3, "end_to_end"), "trained_stage must be deconv_stages where deconv_training is end_to_end, got 0"),
    ],
)
def test_bad_choices(arguments, message):
    with pytest.raises(ValueError, match=message):
        localiser_folders(*arguments)


def saved(folder, network):
    folder.mkdir(parents=True)
    torch.save(network.state_dict(), folder / "model.pt")
    return network.state_dict()


def test_a_stage_takes_the_weights_of_the_one_before(tmp_path):
    wrong = saved(tmp_path / "classifier", TinyLocaliser())
    earlier = TinyLocaliser(stages=1)
    earlier.threshold.fill_(7)
    right = saved(tmp_path / "deconv1", earlier)
    network = TinyLocaliser(stages=2)
    assert localiser_start(network, str(tmp_path), 2, 3, trains="tied") is network
    for key in ("encoder.0.weight", "deconvs.0.weight", "map_conv.weight"):
        assert torch.equal(network.state_dict()[key], right[key])
    assert not torch.equal(network.encoder[0].weight, wrong["encoder.0.weight"])
    assert network.threshold.item() == 0 and network.trains == "tied"


@pytest.mark.parametrize("training", ["layer_by_layer", "end_to_end"])
def test_without_a_file_it_starts_from_random_weights(tmp_path, training):
    """A missing one is the stage's to refuse; and end to end the run's classifier is not looked at."""
    if training == "end_to_end":
        saved(tmp_path / "deconv2", TinyLocaliser())
    network = TinyLocaliser()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    localiser_start(network, str(tmp_path), None, 3, training)
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert network.trains == "all"


def test_end_to_end_takes_the_backbone_for_the_encoder_alone(tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr("monai_wsss.workflow.localiser_weights.load_backbone", lambda *given: calls.append(given))
    network = TinyLocaliser()
    localiser_start(network, str(tmp_path), None, 3, "layer_by_layer", backbone_weights="vgg16.pt")
    assert calls == []  # the classifier took it
    localiser_start(network, str(tmp_path), None, 3, "end_to_end", backbone_weights="vgg16.pt")
    assert calls == [(network.encoder, "vgg16.pt")]


def test_a_broken_file_and_another_network_are_named(tmp_path):
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "model.pt").write_bytes(b"no weights")
    with pytest.raises(InputError, match=r"baseline/model\.pt: broken; train baseline again"):
        localiser_start(TinyLocaliser(), str(tmp_path), 1)
    saved(tmp_path / "classifier", torch.nn.Linear(2, 2))
    with pytest.raises(InputError, match=r"classifier/model\.pt: encoder\.0\.weight is missing"):
        localiser_start(TinyLocaliser(), str(tmp_path), 0)
