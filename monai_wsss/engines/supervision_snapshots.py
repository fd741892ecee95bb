"""What a loss with growing seeds learns from, written down now and then."""

import copy
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.distributed as dist
from ignite.engine import Engine, Events
from torch import Tensor, nn
from torch.nn import functional as F

from monai_wsss.data import write_array
from monai_wsss.losses.dsrg import DSRGLoss
from monai_wsss.losses.label_grid import labels_on_grid

_IGNORE = 255


class SupervisionSnapshots:
    """Writes the supervision of some cases to `<folder>/<epoch, 4 digits>/<case>.npy`, uint8 `(D, h, w)`.

    Epoch 0 holds the seeds themselves on the network's grid; then comes every n-th epoch, and the last. Nothing is
    random: neither an interruption nor the pictures change the training, nor the reverse. The first process writes.

    Args:
        network: segmenter, not wrapped for distributed training, on `device`.
        loss: what it learns by.
        cases: names of the cases.
        read: gives the images `(D, C, H, W)` and labels `(D, 1, H, W)`, uint8, of a case: 0 background, k + 1 class k,
            255 no seed. A slice that is 255 all over stays so.
        folder: where to write.
        epochs: of the training.
        interval: n, epochs; >= 1.
        batch_size: slices at once.
        device: of the network.

    Source: Huang et al., DSRG, CVPR 2018, Fig. 4.
    """

    def __init__(
        self,
        network: nn.Module,
        loss: DSRGLoss,
        cases: Sequence[str],
        read: Callable[[str], tuple[Tensor, Tensor]],
        folder: Path,
        epochs: int,
        interval: int,
        batch_size: int,
        device: torch.device,
    ) -> None:
        self.network, self.loss, self.cases, self.read = network, loss, list(cases), read
        self.folder, self.epochs, self.interval = folder, epochs, interval
        self.batch_size, self.device = batch_size, device

    def attach(self, engine: Engine) -> None:
        """Register with a trainer; before what keeps the weights, so that no epoch is kept without its picture."""
        engine.add_event_handler(Events.STARTED, lambda: self.write(0))
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch)

    def epoch(self, engine: Engine) -> None:
        """Write the epoch that ended, if it is its turn."""
        number = engine.state.epoch
        if number % self.interval == 0 or number == self.epochs:
            self.write(number)

    def write(self, epoch: int) -> None:
        """Write the supervision of every case with the weights as they are."""
        if dist.is_initialized() and dist.get_rank() != 0:
            return
        loss = self.loss
        if epoch == 0:  # a resumed training has its later weights by now, or soon; seeds are seeds
            loss = copy.copy(loss)
            loss.grow = False
        for case in self.cases:
            images, labels = self.read(case)
            unlabelled = (labels == _IGNORE).flatten(1)
            grows = unlabelled.any(dim=1) & ~unlabelled.all(dim=1)  # others stay, whatever the network says
            grows[0] = True  # tells the size of the grid
            parts = [
                supervision_labels(self.network, loss, images[rows].to(self.device), labels[rows].to(self.device)).cpu()
                for rows in grows.nonzero().flatten().split(self.batch_size)
            ]
            found = labels_on_grid(labels, parts[0].shape[1:])[:, 0]
            found[grows] = torch.cat(parts)
            write_array(self.folder / f"{epoch:04d}" / f"{case}.npy", found.numpy())


@torch.no_grad()
def supervision_labels(network: nn.Module, loss: DSRGLoss, images: Tensor, labels: Tensor) -> Tensor:
    """Labels that the loss would learn from, uint8 `(B, h, w)`, on the grid that it has in training.

    255 is no label; of several at one pixel it is the one with the highest logit. The network is left in evaluation
    mode.

    Args:
        network: segmenter.
        loss: what it learns by.
        images: `(B, C, H, W)`.
        labels: seeds, `(B, 1, H, W)`, uint8.
    """
    network.eval()
    # DeepLab-v2 gives the logits of its own grid where its own flag says training. Its layers have flags of their own,
    # so dropout and batch norm stay as in evaluation. Other segmenters do not ask.
    network.training = True
    logits = network(images)
    network.eval()
    learnt = loss.supervision(logits, labels, images)
    height, width = learnt.shape[2:]
    scores = F.adaptive_avg_pool2d(logits.float(), (height, width))  # as they are, where they are on that grid
    best = scores.masked_fill(~learnt, -torch.inf).argmax(dim=1)
    return torch.where(learnt.any(dim=1), best, _IGNORE).to(torch.uint8)
