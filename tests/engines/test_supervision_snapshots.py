"""What a growing loss learns from, on the network's grid."""

import numpy as np
import pytest
import torch
from ignite.engine import Engine
from torch.nn import functional as F

from monai_wsss.engines import supervision_snapshots
from monai_wsss.engines.supervision_snapshots import SupervisionSnapshots, supervision_labels
from monai_wsss.losses.dsrg import DSRGLoss

CPU = torch.device("cpu")


class Bright(torch.nn.Module):
    """Class 1 where a cell of 8 x 8 pixels is brighter than 1, background where it is darker; like DeepLab-v2, with
    logits of its own grid where its own flag says training."""

    def __init__(self):
        super().__init__()
        self.drop = torch.nn.Dropout(0.5)
        self.norm = torch.nn.BatchNorm2d(1)
        self.grids = []

    def forward(self, x):
        z = 10 * (F.avg_pool2d(self.drop(self.norm(x)), 8) - 1)
        z = torch.cat([-z, z], dim=1)
        z = z if self.training else F.interpolate(z, size=x.shape[2:])
        self.grids.append(tuple(z.shape[2:]))
        return z


def cells(rows):
    """An image or a label map `(1, 1, 8 h, 8 w)` of cells of 8 x 8 pixels."""
    return torch.tensor(rows, dtype=torch.float32).repeat_interleave(8, 0).repeat_interleave(8, 1)[None, None]


IMAGE = cells([[2, 2, 2, 0], [0, 0, 2, 0], [2, 0, 0, 0]])
SEEDS = cells([[1, 255, 255, 255], [255, 255, 255, 255], [255, 255, 255, 0]]).to(torch.uint8)
# background is joined by corners over (2, 2), (2, 1), (1, 0) and (1, 1), and round the lesion's end to (0, 3); the
# lesion at (2, 0) touches no seed of its class
GROWN = [[1, 1, 1, 0], [0, 0, 1, 0], [255, 0, 0, 0]]


@pytest.fixture
def loss():
    return DSRGLoss(boundary_weight=0.0)


def test_the_grown_seeds_by_hand_on_the_grid_of_training_without_its_noise(loss):
    network = Bright().train()
    assert supervision_labels(network, loss, IMAGE, SEEDS)[0].tolist() == GROWN
    assert network.grids == [(3, 4)] and not any(module.training for module in network.modules())
    assert network.norm.num_batches_tracked == 0


def test_a_network_that_gives_logits_of_the_images_size_gives_the_same_labels(loss):
    network = Bright()
    wrapped = torch.nn.Sequential(network)  # whose own flag is not the inner network's
    assert supervision_labels(wrapped, loss, IMAGE, SEEDS)[0].tolist() == GROWN
    assert network.grids == [(24, 32)]


def test_of_several_labels_at_one_pixel_the_one_with_the_highest_logit():
    class Both:
        def supervision(self, logits, labels, image):
            return torch.tensor([[[1, 1, 0, 0]], [[1, 1, 1, 0]], [[0, 1, 0, 0]]]).bool()[None]

    class Network(torch.nn.Module):
        def forward(self, x):
            return torch.tensor([[[1.0, 2.0, 9.0, 9.0]], [[3.0, 1.0, 0.0, 0.0]], [[9.0, 4.0, 9.0, 0.0]]])[None]

    found = supervision_labels(Network(), Both(), torch.zeros(1, 1, 1, 4), torch.zeros(1, 1, 1, 4, dtype=torch.uint8))
    assert found.dtype == torch.uint8 and found.tolist() == [[[1, 2, 1, 255]]]


@pytest.mark.parametrize("rule", ["paper", "reference_code"])
def test_nothing_grows_in_a_slice_without_any_seed(rule):
    loss = DSRGLoss(rule=rule, boundary_weight=0.0)
    found = supervision_labels(Bright(), loss, IMAGE, torch.full_like(SEEDS, 255))
    assert (found == 255).all()


@pytest.fixture
def snapshots(loss, tmp_path):
    def make(network=None, **options):
        volume, seeds = torch.cat([IMAGE, IMAGE, 0 * IMAGE]), torch.cat([SEEDS, torch.full_like(SEEDS, 255), SEEDS])
        settings = {"epochs": 5, "interval": 2, "batch_size": 2} | options
        read = {"a": (volume, seeds), "b": (IMAGE, SEEDS)}.__getitem__
        return SupervisionSnapshots(network or Bright(), loss, ["a", "b"], read, tmp_path, device=CPU, **settings)

    return make


def run(snapshots_, epochs):
    engine = Engine(lambda *_: None)
    snapshots_.attach(engine)
    engine.run([0], max_epochs=epochs)


@pytest.mark.parametrize(("interval", "epochs"), [(2, [0, 2, 4, 5]), (1, [0, 1, 2, 3, 4, 5]), (5, [0, 5]), (9, [0, 5])])
def test_before_training_every_nth_epoch_and_the_last(snapshots, tmp_path, interval, epochs):
    run(snapshots(interval=interval), 5)
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"{epoch:04d}" for epoch in epochs]
    assert all((tmp_path / f"{epoch:04d}" / "b.npy").is_file() for epoch in epochs)


def test_epoch_0_holds_the_seeds_and_later_ones_what_grew(snapshots, loss, tmp_path):
    run(snapshots(), 5)
    seeds = [[1, 255, 255, 255], [255, 255, 255, 255], [255, 255, 255, 0]]
    first, last = np.load(tmp_path / "0000" / "a.npy"), np.load(tmp_path / "0005" / "a.npy")
    assert first.dtype == last.dtype == np.uint8 and first.shape == last.shape == (3, 3, 4)
    assert first[0].tolist() == seeds and last[0].tolist() == GROWN
    assert (first[1] == 255).all() and (last[1] == 255).all()
    assert first[2].tolist() == seeds and (last[2].ravel() == [1, *[0] * 11]).all()  # all dark
    assert loss.grow  # the loss of the training is as it was


def test_batches_do_not_matter(snapshots, tmp_path):
    found = []
    for size in (1, 2, 9):
        run(snapshots(batch_size=size), 5)
        found.append(np.load(tmp_path / "0005" / "a.npy"))
    assert np.array_equal(found[0], found[1]) and np.array_equal(found[0], found[2])


def test_only_the_first_process_writes(snapshots, tmp_path, monkeypatch):
    monkeypatch.setattr(supervision_snapshots.dist, "is_initialized", lambda: True)
    monkeypatch.setattr(supervision_snapshots.dist, "get_rank", lambda: 1)
    run(snapshots(), 5)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(supervision_snapshots.dist, "get_rank", lambda: 0)
    run(snapshots(), 5)
    assert len(list(tmp_path.iterdir())) == 4
