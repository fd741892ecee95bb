"""irnet: train the boundary and displacement branches of IRNet on confident masks."""

from typing import Any

import torch
import torch.distributed as dist
from monai.transforms import Transform
from torch import Tensor, nn

from monai_wsss.engines import save_weights
from monai_wsss.losses.affinity import AffinityLoss
from monai_wsss.losses.label_grid import labels_on_grid
from monai_wsss.networks.nets.irnet import IRNet
from monai_wsss.workflow.boundary_stage import BoundaryStage


class IRNetStage(BoundaryStage):
    """Trains IRNet; which slices and which epoch are taken, see `BoundaryStage`.

    The mean displacement of the training images is stored in the network afterwards.

    Args:
        network: IRNet on a classifier.
        augmentation: random transforms of an item's `image` and `label` (the confident mask).
        epochs: passes over the training slices.
        batch_size: slices a step.
        displacement_factor: multiple of the learning rate for the displacement branch.
        momentum: of SGD. The paper gives none, and by a slip of the published code its checkpoints had 1e-4, so none.
        radius: of the pixel pairs, pixels of the stride-4 grid.
        training_and_place: the other arguments of `BoundaryStage`.

    Source: Ahn et al., IRNet, CVPR 2019; values of Viniavskyi et al.'s published code (2020) for chest films.
    """

    name = "irnet"
    writes = "irnet"
    network: IRNet

    def __init__(
        self,
        network: IRNet,
        augmentation: Transform,
        epochs: int = 10,
        batch_size: int = 24,
        displacement_factor: float = 10.0,
        momentum: float = 0.0,
        radius: int = 10,
        **training_and_place: Any,
    ) -> None:
        super().__init__(
            network, augmentation, epochs=epochs, batch_size=batch_size, momentum=momentum, **training_and_place
        )
        self.displacement_factor = displacement_factor
        self.loss = GridLoss(AffinityLoss(radius))

    def parameter_groups(self) -> list[dict[str, Any]]:
        """Both branches, at their own rates."""
        rates = {"boundary": self.learning_rate, "displacement": self.displacement_factor * self.learning_rate}
        branches = self.network.trainable_parameters()
        return [{"params": branches[name], "lr": rate} for name, rate in rates.items()]

    @torch.no_grad()
    def finish(self, training: list[dict[str, Any]]) -> None:
        """Displacements are learnt from differences alone: their mean is free, and is taken away at inference."""
        self.network.set_mean_shift(torch.zeros_like(self.network.mean_shift))
        total = torch.zeros(len(self.network.mean_shift), dtype=torch.float64)
        for batch in self._loader(training, train=False):
            displacement = self.network(batch["image"].to(self.device))[1]
            total += displacement.double().mean(dim=(2, 3)).sum(dim=0).cpu()
        self.network.set_mean_shift((total / len(training)).float())
        if not dist.is_initialized() or dist.get_rank() == 0:
            save_weights(self.network, self.folder / "model.pt")


class GridLoss(nn.Module):
    """A loss on the network's own grid, to which the labels are brought.

    Args:
        loss: of boundary logits, displacement and labels.
    """

    def __init__(self, loss: nn.Module) -> None:
        super().__init__()
        self.loss = loss

    def forward(self, prediction: tuple[Tensor, Tensor], labels: Tensor) -> Tensor:
        """Loss of `(boundary logits, displacement)` with labels `(B, 1, H, W)` of the images' size."""
        boundary, displacement = prediction
        # the pixel in the middle of a cell, as the seeds' and the walked maps' grid has it
        return self.loss(boundary, displacement, labels_on_grid(labels, boundary.shape[2:]).to(torch.uint8))
