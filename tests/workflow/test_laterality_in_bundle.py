"""A bundle's own batches, from its own configs: a lesion of a class "left" never lies on the right."""

from pathlib import Path

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser

from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.boundary_stage import BoundaryStage

CONFIGS = sorted(Path(__file__).parents[2].glob("bundles/*/configs/classify.yaml"))
MASKED = [path for path in CONFIGS if path.with_name("seed.yaml").exists()]  # a localiser learns from labels alone
LEFT, RIGHT = "left lesion", "right lesion"
SIZE = 64
# Of a stage's config, where it exists: the transforms that draw, and the networks, which matter to no batch.
TRANSFORMS = {
    "classify": "augmentation",
    "train": "train#preprocessing",
    "dsrg": "dsrg_augmentation",
    "irnet": "irnet_augmentation",
    "bes": "bes_augmentation",
}
SMALL = {
    "classifier_name": "resnet18",
    "classifier_width": 0.125,
    "head_convs": 0,
    "segmenter": "unet",
    "channels": [4, 4, 8, 8],
    "noise_prob": 0.0,
    "windows": None,
    "in_channels": 1,
    "background_seed": None,  # else DSRG learns from masks that its stage makes of the class maps
    "classify_batch_size": 8,
    "dsrg_batch_size": 8,  # of 32 slices none is left over
}


@pytest.fixture
def grid():
    return GridPreprocessing(pixel_spacing=2.0, size=(SIZE, SIZE))


def dot(x, y):
    image = np.zeros((SIZE, SIZE))
    image[x - 2 : x + 3, y - 2 : y + 3] = 1
    return image


def slice_(side):
    """Three channels: the forehead, the lesion, the middle; the first axis points to the left, the second backwards."""
    return np.stack([dot(32, 20), dot(32 + 10 * side, 34), dot(32, 32)])


def side_of(image):
    """+1 left, -1 right, whatever the turn, shift and scale: on which side of the line from the middle to the forehead.

    With the forehead at (0, -12) and a left lesion at (10, 2) from the middle: 0 * 2 - (-12) * 10 = 120 > 0.
    """
    forehead, lesion, middle = (
        torch.nonzero(channel > (channel.min() + channel.max()) / 2).double().mean(dim=0) for channel in image
    )
    (fx, fy), (x, y) = forehead - middle, lesion - middle
    return int(torch.sign(fx * y - fy * x))


@pytest.fixture
def study(write_cached, place, tmp_path):
    """Slices with the lesion on the left or on the right, by side; labelled so, and with masks of label k + 1."""

    def make(labels, sides):
        rows = [[float({LEFT: 1, RIGHT: -1}[label] == side) for label in labels] for side in sides]
        volume = np.stack([slice_(side) for side in sides])
        write_cached(labels, training={"c": (volume, rows)}, validation={"v": (volume, rows)})
        for kind in ("pseudo_masks/refined", "pseudo_masks/crf", "pseudo_masks/walk", "relabelled", "confident_masks"):
            folder = tmp_path / "run" / kind
            folder.mkdir(parents=True)
            masks = [volume[i, 1] * (np.argmax(row) + 1) * max(row) for i, row in enumerate(rows)]
            for case in "cv":
                np.save(folder / f"{case}.npy", np.stack(masks).astype(np.uint8))
        return {key: value for key, value in place.items() if key != "preprocessing"}

    return make


def parsed(path, labels, place, careless=False, **values):
    """The config as the pipeline sets it; `careless` puts MONAI's flips in the place of ours."""
    parser = ConfigParser(ConfigParser.load_config_file(str(path)))
    parser.update({"labels": labels, "pixel_spacing": 2.0, "size": [SIZE, SIZE], **place})
    parser.update({k: v for k, v in (SMALL | values).items() if k in parser})
    if careless:
        for transform in parser[TRANSFORMS[path.stem]]["transforms"]:
            if transform["_target_"].endswith("RandMirrord"):
                transform["_target_"] = "RandFlipd"
                for name in ("labels", "label_keys"):
                    transform.pop(name, None)
    return parser


def classifier_batches(path, labels, place, epochs, **options):
    """`(image, claimed sides)` of the classifier's batches."""
    stage = parsed(path, labels, place, **options).get_parsed_content("stage")
    stage.transform.set_random_state(0)
    for _ in range(epochs):
        for batch in stage._loader(stage.items("training")):
            for image, classes in zip(batch["image"], batch["classes"], strict=True):
                yield image, [{LEFT: 1, RIGHT: -1}[labels[k]] for k in range(len(labels)) if classes[k] == 1]


def localiser_batches(path, labels, place, epochs, **options):
    """Likewise, of a localiser as the bundle trains it."""
    values = {"activation": "softmax", "network_width": 0.05}
    config = parsed(path.with_name("train.yaml"), labels, place, **values, **options)
    loader = config.get_parsed_content("train#dataloader")
    loader.dataset.transform.set_random_state(0)
    for _ in range(epochs):
        for batch in loader:
            for image, classes in zip(batch["image"], batch["classes"], strict=True):
                yield image, [{LEFT: 1, RIGHT: -1}[labels[k]] for k in range(len(labels)) if classes[k] == 1]


def label_batches(loader, labels, epochs):
    """`(image, claimed sides)` of a loader's batches: the sides are what the label maps say."""
    loader.dataset.transform.set_random_state(0)
    for _ in range(epochs):
        for batch in loader:
            for image, label in zip(batch["image"], batch["label"], strict=True):
                lesion = label[0] > 0
                assert torch.equal(label[0], label[-1])  # both masks, or the one there is
                if lesion.any():  # the map lies on its lesion, whatever the brightness
                    bright = image[1] > (image[1].min() + image[1].max()) / 2
                    apart = torch.nonzero(bright).double().mean(dim=0) - torch.nonzero(lesion).double().mean(dim=0)
                    assert apart.norm() < 1  # pixels
                yield image, [{LEFT: 1, RIGHT: -1}[labels[int(v) - 1]] for v in label.unique() if v > 0]


def segmenter_batches(path, labels, place, epochs, **options):
    """Of the final segmenter, as the bundle trains it."""
    config = parsed(path.with_name("train.yaml"), labels, place, **options)
    yield from label_batches(config.get_parsed_content("train#dataloader"), labels, epochs)


def retrained_batches(path, labels, place, epochs, **options):
    """Of the final segmenter, from the masks of DSRG's."""
    config = parsed(path.with_name("train.yaml"), labels, place, supervision="dsrg", **options)
    loader = config.get_parsed_content("train#dataloader")
    assert {file.split("/")[-2] for item in loader.dataset.data for file, _ in item["label"]} == {"relabelled"}
    yield from label_batches(loader, labels, epochs)


def dsrg_batches(path, labels, place, epochs, **options):
    """Of the segmenter whose seeds grow."""
    config = parsed(path.with_name("dsrg.yaml"), labels, place, supervision="dsrg", **options)
    stage = config.get_parsed_content("stage")
    yield from label_batches(stage._loader(stage.items()), labels, epochs)


def irnet_batches(path, labels, place, epochs, **options):
    """Of IRNet, from confident masks."""
    stage = parsed(path.with_name("irnet.yaml"), labels, place, **options).get_parsed_content("stage")
    yield from label_batches(stage._loader(stage.items("training")), labels, epochs)


def bes_batches(path, labels, place, epochs, **options):
    """Of BENet, likewise; these lesions are too small for a boundary, for which slices are not left out here."""
    stage = parsed(path.with_name("bes.yaml"), labels, place, **options).get_parsed_content("stage")
    yield from label_batches(stage._loader(BoundaryStage.items(stage, "training")), labels, epochs)


all_batches = [classifier_batches, segmenter_batches, retrained_batches, dsrg_batches, irnet_batches, bes_batches]
LOCALISED = [path for path in CONFIGS if path not in MASKED]
each = pytest.mark.parametrize(
    ("path", "batches"),
    [(path, batches) for path in MASKED for batches in all_batches]
    + [(path, batches) for path in LOCALISED for batches in (classifier_batches, localiser_batches)],
    ids=lambda value: value.__name__ if callable(value) else value.parents[1].name,
)
every = pytest.mark.parametrize("path", MASKED, ids=lambda path: path.parents[1].name)


@each
def test_no_lesion_is_on_the_wrong_side(study, path, batches):
    place = study([LEFT, RIGHT], [1, -1] * 16)
    seen = [(side_of(image), claimed) for image, claimed in batches(path, [LEFT, RIGHT], place, epochs=2)]
    assert len(seen) == 64 and {side for side, _ in seen} == {1, -1}
    assert all(claimed == [side] for side, claimed in seen)


@each
def test_the_same_check_finds_careless_flips(study, path, batches):
    place = study([LEFT, RIGHT], [1, -1] * 16)
    found = batches(path, [LEFT, RIGHT], place, epochs=1, careless=True)
    assert 4 < sum(claimed != [side_of(image)] for image, claimed in found) < 28


@each
def test_one_side_alone_is_never_mirrored(study, path, batches):
    place = study([LEFT], [1, -1] * 16)
    seen = [(side_of(image), claimed) for image, claimed in batches(path, [LEFT], place, epochs=1)]
    assert all(claimed == ([1] if side == 1 else []) for side, claimed in seen)


@pytest.mark.parametrize(
    ("labels", "order"), [([LEFT, RIGHT], [1, 0]), (["lesion"], [0]), ([LEFT, "cyst", RIGHT], [2, 1, 0])]
)
@every
def test_mirrored_class_maps_know_the_sides(path, labels, order):
    parser = parsed(path.with_name("seed.yaml"), labels, {"flips": True})
    assert parser.get_parsed_content("inferer").order == order


@every
def test_mirrored_logits_know_the_sides(study, path):
    """Those of which DSRG's segmenter makes masks."""
    place = study([LEFT, RIGHT], [1, -1])
    config = parsed(path.with_name("relabel.yaml"), [LEFT, RIGHT], place, relabel_flips=True, supervision="dsrg")
    stage = config.get_parsed_content("stage")
    assert stage.segmenter.flips and stage.segmenter.order == [1, 0]


@every
def test_mirrored_logits_are_refused_where_a_side_lacks_its_partner(study, path):
    place = study([LEFT], [1, -1])
    config = parsed(path.with_name("relabel.yaml"), [LEFT], place, relabel_flips=True, supervision="dsrg")
    with pytest.raises(RuntimeError) as error:
        config.get_parsed_content("stage")
    assert "flips must be false" in str(error.getrepr(chain=True))


@every
def test_mirrored_class_maps_are_refused_where_a_side_lacks_its_partner(path):
    parser = parsed(path.with_name("seed.yaml"), [LEFT], {"flips": True})
    with pytest.raises(RuntimeError) as error:
        parser.get_parsed_content("inferer")
    assert "flips must be false" in str(error.getrepr(chain=True))
    parser = parsed(path.with_name("seed.yaml"), [LEFT], {"flips": False})
    assert parser.get_parsed_content("inferer").flips is False
