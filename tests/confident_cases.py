"""A prepared folder with confident masks and a trained classifier, as the boundary networks' stages read it."""

import numpy as np
import torch
from monai.utils import set_determinism

from monai_wsss.engines import save_weights


class Backbone(torch.nn.Module):
    """Five levels of strides 2, 4, 8, 8 and 8, four channels each."""

    level_channels = (4, 4, 4, 4, 4)

    def __init__(self):
        super().__init__()
        self.convs = torch.nn.ModuleList(
            [torch.nn.Conv2d(1 if i == 0 else 4, 4, 3, 2 if i < 3 else 1, 1) for i in range(5)]
        )

    def levels(self, x):
        return [x := conv(x).relu() for conv in self.convs]


def write_confident(run, write_cached, labels, splits):
    """Writes cache and confident masks of `splits`: {split: {case: (rows of labels, masks (D, H, W))}}."""
    rng = np.random.default_rng(0)
    (run / "confident_masks").mkdir(parents=True)
    given = {}
    for split, cases in splits.items():
        given[split] = {}
        for name, (rows, masks) in cases.items():
            given[split][name] = (rng.normal(size=(len(masks), 1, *masks[0].shape)), rows)
            np.save(run / "confident_masks" / f"{name}.npy", np.stack(masks))
    write_cached(labels, **given)
    set_determinism(seed=1)
    save_weights(Backbone(), run / "classifier" / "model.pt")
    set_determinism(seed=None)
