"""bes: train BENet on boundaries that are synthesised from confident masks."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from monai.data import DataLoader, Dataset
from monai.transforms import Transform
from torch import Tensor, nn

from monai_wsss.data import Case
from monai_wsss.engines import parameter_groups
from monai_wsss.errors import InputError
from monai_wsss.losses.boundary_exploration import BoundaryExplorationLoss
from monai_wsss.losses.label_grid import labels_on_grid
from monai_wsss.networks.nets.benet import BENet, grid_size
from monai_wsss.ops.boundary_labels import BACKGROUND, BOUNDARY, boundary_labels
from monai_wsss.transforms import LoadSliced
from monai_wsss.workflow.boundary_stage import BoundaryStage
from monai_wsss.workflow.tracking import Tracker


class BESStage(BoundaryStage):
    """Trains BENet; which slices and which epoch are taken, see `BoundaryStage`.

    Boundary labels are synthesised anew for each batch, after the augmentation, on the network's stride-4 grid. If no
    slice of the validation split gets a boundary pixel, the last epoch is kept: the lowest loss would be that of a
    network which finds no boundary anywhere.

    Args:
        network: BENet on a classifier.
        augmentation: random transforms of an item's `image` and `label` (the confident mask).
        epochs: passes over the training slices; the paper has about 3,500 steps, five passes over its images.
        batch_size: slices a step.
        momentum: of SGD.
        window: w, side of the window, pixels of the stride-4 grid, odd.
        theta_scale: least share of both sides of a boundary in the window, in [0, 0.5).
        theta_diff: their shares differ by less than this; above 1 / w, or straight edges are none.
        reference_code: as the published code, two classes side by side are a boundary too, and each part of the loss is
            divided by its number of pixels + 1.
        training_and_place: the other arguments of `BoundaryStage`.

    Source: Chen et al., BES, ECCV 2020, Secs. 3.1 and 4.1.
    """

    name = "bes"
    writes = "bes"
    loss: "SynthesisedBoundaryLoss"

    def __init__(
        self,
        network: BENet,
        augmentation: Transform,
        epochs: int = 5,
        batch_size: int = 16,
        momentum: float = 0.9,
        window: int = 13,
        theta_scale: float = 0.35,
        theta_diff: float = 0.10,
        reference_code: bool = False,
        **training_and_place: Any,
    ) -> None:
        super().__init__(
            network, augmentation, epochs=epochs, batch_size=batch_size, momentum=momentum, **training_and_place
        )
        self.loss = SynthesisedBoundaryLoss(
            BoundaryExplorationLoss(reference_code),
            num_labels=len(self.dataset.labels) + 1,
            window=window,
            theta_scale=theta_scale,
            theta_diff=theta_diff,
            foreground_pairs=reference_code,
        )
        self.loss.labels(torch.zeros(1, 1, 4, 4, dtype=torch.uint8))  # refuses bad values before anything runs
        self.window = window
        self.with_boundary: dict[str, int] = {}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """The boundary branch."""
        return parameter_groups(self.network, self.learning_rate)

    def items(self, split: str) -> list[dict[str, Any]]:
        """Items of `BoundaryStage`; none of a validation split without any boundary pixel.

        Raises:
            InputError: a training split without any.
        """
        items = super().items(split)
        masks = Dataset([{"label": item["label"]} for item in items], LoadSliced(keys="label"))
        loader = DataLoader(masks, batch_size=self.batch_size, num_workers=self.num_workers)
        marked = [(self.loss.labels(b["label"]) == BOUNDARY).flatten(1).any(dim=1).sum() for b in loader]
        self.with_boundary[split] = int(sum(marked))
        if self.with_boundary[split]:
            return items
        if items and split == "training":
            raise InputError(
                f"{self.run_folder / 'confident_masks'}: no training slice gets a boundary pixel at a window of "
                f"{self.window} pixels of the stride-4 grid, too large for the lesions; lower bes_window, and keep "
                "theta_diff above 1 / bes_window"  # a straight edge divides an odd window by that difference
            )
        return []

    def work(self, tracker: Tracker) -> dict[str, Any]:
        """Train; write `model.pt` and a preview.

        Raises:
            InputError: nothing to train on, no boundary pixel, or a backbone's file that does not fit.
        """
        summary = super().work(tracker)
        return summary | {f"{split}_slices_with_boundary": n for split, n in self.with_boundary.items()}

    def marks(self, chosen: Sequence[tuple[Case, int]]) -> dict[str, list[np.ndarray]]:
        """The synthesised labels: foreground, boundary and background in the colours of labels 1, 2 and 3."""
        found, folder = [], self.run_folder / "confident_masks"
        for case, index in chosen:
            mask = torch.from_numpy(np.array(np.load(folder / f"{case.case}.npy", mmap_mode="r")[index]))[None, None]
            labels = labels_on_grid(self.loss.labels(mask), mask.shape[2:])[0, 0]
            found.append(torch.where(labels == BACKGROUND, 3, labels).numpy())
        return {"boundary labels": found}


class SynthesisedBoundaryLoss(nn.Module):
    """A loss of boundary logits, whose boundary labels are synthesised from labels.

    Args:
        loss: of boundary logits and boundary labels on their grid.
        rule: arguments of `boundary_labels`.
    """

    def __init__(self, loss: nn.Module, **rule: Any) -> None:
        super().__init__()
        self.loss, self.rule = loss, rule

    def labels(self, labels: Tensor) -> Tensor:
        """Boundary labels, uint8 `(B, 1, h, w)` on the stride-4 grid, of labels `(B, 1, H, W)` of the images' size."""
        return boundary_labels(labels_on_grid(labels, grid_size(labels)).to(torch.uint8), **self.rule)

    def forward(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Loss of logits `(B, 1, h, w)` with labels `(B, 1, H, W)` of the images' size."""
        return self.loss(logits, self.labels(labels))
