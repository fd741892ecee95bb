"""A localiser's stages: what they read and write, their thresholds, and a training as train.yaml wires it."""

import numpy as np
import pytest
import torch
from ignite.metrics import Loss
from monai.data import DataLoader, Dataset
from monai.engines import SupervisedEvaluator, SupervisedTrainer
from monai.handlers import ValidationHandler
from tiny_localiser import ImageAsMap, TinyLocaliser
from torch.nn import functional as F

from monai_wsss.engines import ResumableCheckpoint, load_weights, loss_output, prepare_classification_batch
from monai_wsss.errors import InputError
from monai_wsss.inferers.class_map_inferer import ClassMapInferer
from monai_wsss.transforms import LoadSliced
from monai_wsss.workflow.classification_items import classification_items
from monai_wsss.workflow.localise import LocaliseStage
from monai_wsss.workflow.localiser_weights import localiser_start

RAMP = np.arange(64, dtype=np.float32).reshape(1, 1, 8, 8)


class Engine:
    """Stands in for trainer and evaluator where nothing is trained."""

    data_loader = DataLoader([0, 1], batch_size=2)


@pytest.fixture
def make_stage(place):
    def make(network=None, labels="a", **options):
        return LocaliseStage(Engine(), Engine(), network or ImageAsMap(), labels=list(labels), **place, **options)

    return make


def slices(rows, values):
    """Slices whose pixels are all `values[d]`, with labels `rows[d]`."""
    return np.stack([np.full((1, 8, 8), value, np.float32) for value in values]), rows


@pytest.mark.parametrize(
    ("options", "name", "writes", "reads"),
    [
        ({"trained_stage": 0}, "baseline", "baseline", ("classifier",)),
        ({"trained_stage": 2}, "deconv2", "deconv2", ("deconv1",)),
        ({}, "train", "segmenter", ("deconv2",)),
        ({"deconv_stages": 0}, "train", "segmenter", ("classifier",)),
        ({"training": "end_to_end"}, "train", "segmenter", ()),
    ],
)
def test_name_and_folders(make_stage, write_cached, tmp_path, options, name, writes, reads):
    write_cached("a", training={"c": slices([[0], [1]], [0, 1])})
    stage = make_stage(**options)
    assert (stage.name, stage.writes, stage.reads) == (name, writes, reads)
    assert stage.folder == tmp_path / "run" / writes
    assert LocaliseStage.trains


def test_the_backbone_is_an_input_end_to_end_alone(make_stage, write_cached):
    """Layer by layer the classifier took it, and its folder is what is read."""
    write_cached("a", training={"c": slices([[0], [1]], [0, 1])})
    assert make_stage(training="end_to_end", backbone_weights="vgg.pt").backbone_weights == "vgg.pt"
    assert make_stage(backbone_weights="vgg.pt").backbone_weights is None


@pytest.mark.parametrize("quantile", [-0.1, 1.01])
def test_a_bad_quantile(make_stage, quantile):
    with pytest.raises(ValueError, match=r"threshold_quantile must lie in \[0, 1\]"):
        make_stage(threshold_quantile=quantile)


def test_the_threshold_is_a_quantile_of_negative_validation_pixels(make_stage, write_cached):
    """0..63 and 64..127 are negative, the positive and the unknown slice (1000) are not looked at, nor is training."""
    validation = np.concatenate([RAMP, RAMP + 64, np.full((3, 1, 8, 8), 1000, np.float32)])
    write_cached(
        "a",
        training={"t": slices([[0], [1]], [5000, 0])},
        validation={"v": (validation, [[0], [0], [1], [-1], [0.3]])},
    )
    # 128 values 0..127: place 0.99 x 127 = 125.73
    assert make_stage(ImageAsMap(), threshold_quantile=0.99).thresholds() == [pytest.approx(125.73)]
    assert make_stage(ImageAsMap(), threshold_quantile=0.0).thresholds() == [0.0]
    assert make_stage(ImageAsMap(), threshold_quantile=1.0).thresholds() == [127.0]


def test_each_class_has_its_own_negatives_of_training_where_validation_has_none(make_stage, write_cached):
    """Class a's maps are the image, b's twice the image; validation lacks neither a nor c, training both."""
    write_cached(
        "abc",
        training={"t": slices([[0, 1, 0], [1, 0, 1], [0, 0, -1]], [7, 8, 9])},
        validation={"v": slices([[1, 0, 1], [1, 1, -1]], [3, 4])},
    )
    stage = make_stage(ImageAsMap(3), labels="abc", threshold_quantile=1.0)
    assert stage.thresholds() == [9.0, 2 * 3.0, 3 * 7.0]


def test_maps_that_are_not_finite_are_named(make_stage, write_cached):
    write_cached(
        "a", training={"t": slices([[0], [1]], [0, 1])}, validation={"v": slices([[0], [1]], [float("nan"), 1])}
    )
    with pytest.raises(InputError, match="maps of class a are not finite; lower the learning rate"):
        make_stage().thresholds()


def test_a_class_that_no_image_lacks_is_named(make_stage, write_cached):
    write_cached("a", training={"t": slices([[1], [1]], [0, 1])}, validation={"v": slices([[1]], [1])})
    with pytest.raises(InputError, match=r"dataset\.json: no negative slice of class a"):
        make_stage().thresholds()


class ImageLoss(torch.nn.Module):
    """Cross-entropy of the maps' mean difference; what the bundle's loss does in the simplest form."""

    def forward(self, maps, targets):
        return F.binary_cross_entropy_with_logits(TinyLocaliser.image_logits(None, maps), targets)


def wired(network, place, folder, epochs=6):
    """Trainer and evaluator as `train.yaml` wires them."""
    loaders = {}
    for split in ("training", "validation"):
        found = classification_items(place["dataset_dir"], split, place["preprocessing"])
        loaders[split] = DataLoader(Dataset(found, LoadSliced(keys=["image"])), batch_size=4)
    optimizer = torch.optim.Adam(network.parameters(), 0.05)
    evaluator = SupervisedEvaluator(
        device=torch.device("cpu"),
        val_data_loader=loaders["validation"],
        network=network,
        prepare_batch=prepare_classification_batch,
        inferer=ClassMapInferer(),
        key_val_metric={"val_loss": Loss(ImageLoss(), output_transform=loss_output)},
        metric_cmp_fn=lambda now, best: now < best,
        decollate=False,
    )
    trainer = SupervisedTrainer(
        device=torch.device("cpu"),
        max_epochs=epochs,
        train_data_loader=loaders["training"],
        network=network,
        optimizer=optimizer,
        loss_function=ImageLoss(),
        prepare_batch=prepare_classification_batch,
        decollate=False,
        train_handlers=[
            ValidationHandler(1, validator=evaluator),
            ResumableCheckpoint(folder, {"network": network, "optimizer": optimizer}, evaluator),
        ],
    )
    return trainer, evaluator


@pytest.fixture
def spots(write_cached):
    """Slices of low noise; a positive one has a bright spot of 3 x 3."""

    def split(rng, count):
        volume = rng.uniform(0, 0.2, (count, 1, 8, 8)).astype(np.float32)
        labels = [[float(d % 2)] for d in range(count)]
        for d in range(1, count, 2):
            x, y = rng.integers(0, 6, 2)
            volume[d, 0, x : x + 3, y : y + 3] = 1
        return volume, labels

    rng = np.random.default_rng(0)
    return write_cached("a", training={"t": split(rng, 16)}, validation={"v": split(rng, 8)})


def test_two_stages_one_after_the_other(spots, place, tmp_path):
    torch.manual_seed(0)
    records = {}
    (tmp_path / "run" / "classifier").mkdir(parents=True)
    torch.save(TinyLocaliser().state_dict(), tmp_path / "run" / "classifier" / "model.pt")
    for trained in (0, 1):
        network = localiser_start(TinyLocaliser(stages=trained), place["output_dir"], trained, 3)
        folder = tmp_path / "run" / ("baseline", "deconv1")[trained]
        trainer, evaluator = wired(network, place, folder)
        stage = LocaliseStage(trainer, evaluator, network, trained, labels=["a"], threshold_quantile=0.9, **place)
        records[stage.name] = stage.run()
        assert not (folder / ".resume.pt").exists() and (folder / "preview.png").exists()
        kept = load_weights(TinyLocaliser(stages=trained), folder / "model.pt").eval()
        summary = records[stage.name]["summary"]
        assert kept.threshold.tolist() == pytest.approx([summary["threshold"]])
        negative = stage.volume(stage.dataset.cases("validation")[0])[::2]
        with torch.no_grad():
            assert (kept.lesion_maps(negative) > kept.threshold).float().mean() == pytest.approx(0.1, abs=0.02)
            assert torch.equal(kept(negative) > 0, F.interpolate(kept.lesion_maps(negative), size=8) > kept.threshold)
        assert summary["val_auc"] == 1.0 and summary["val_loss"] < 0.6
        assert (summary["training_slices"], summary["validation_slices"]) == (16, 8)
    assert list(records["deconv1"]["inputs"]) == ["dataset", "baseline"]
    assert records["deconv1"]["writes"] == "deconv1"


def test_a_stage_without_the_earlier_one_is_refused(spots, place):
    network = TinyLocaliser()
    with pytest.raises(InputError, match="run/deconv1: not there; run the stage that writes deconv1 first"):
        LocaliseStage(Engine(), Engine(), network, 2, labels=["a"], **place).run()


def test_a_dead_map_is_named_in_one_line(make_stage, write_cached):
    """Images of zeros give maps of zeros."""
    write_cached("a", training={"t": slices([[0], [1]], [0, 1])}, validation={"v": slices([[0], [1]], [0, 0])})
    stage = make_stage()
    with pytest.raises(InputError, match="a is 0 in all validation images; set map_bias to 1, lower") as raised:
        stage._validation_auc(stage.items("validation"))
    assert "\n" not in str(raised.value)
    assert "val_auc" in stage._validation_auc(stage.items("training"))
