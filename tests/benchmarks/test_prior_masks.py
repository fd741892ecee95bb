from pathlib import Path

import numpy as np
import torch

from benchmarks.rows import localisers
from benchmarks.rows.localisers import write_prior_masks
from monai_wsss.data import Case, PreparedDataset


def test_a_class_that_a_slices_label_lacks_is_taken_out(tmp_path, monkeypatch):
    """The localiser sees classes 1 and 2 in each of three slices; their labels name both, the second, and neither."""
    slices = ((1, 0.5), (0, 1), (0.2, -1))
    volume = Case(Path("v.nii"), "v", "p", (1, 1), slices)
    film = Case(Path("f.png"), "f", "q", (1, 0))
    PreparedDataset(("a", "b"), {}, (volume, film)).write(tmp_path)
    seen = torch.tensor([[[0, 1, 2]]], dtype=torch.uint8)
    monkeypatch.setattr(localisers, "localiser_of", lambda run, localiser: None)
    masks = {"v": seen.repeat(3, 1, 1), "f": seen}
    monkeypatch.setattr(localisers, "_masks", lambda *place, gated: lambda case: masks[case.case].clone())
    folder = write_prior_masks(tmp_path, localisers.LOCALISERS["train"], tmp_path, tmp_path / "prior")
    assert np.load(folder / "v.npy").tolist() == [[[0, 1, 2]], [[0, 0, 2]], [[0, 0, 0]]]
    assert np.load(folder / "f.npy").tolist() == [[[0, 1, 0]]]
