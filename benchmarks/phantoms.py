"""Are the phantoms fair? What thresholds, position, nuisance variables and a small network make of each kind.

`python -m benchmarks.phantoms` prints a table for every kind. A task is fair if no threshold finds the lesion, where
lesions mostly lie says little, nothing but the picture tells the label, and a network learns from true labels only.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, cast

import numpy as np
import torch
import typer
from scipy import ndimage
from skimage.filters import threshold_otsu
from sklearn.metrics import roc_auc_score
from torch import nn

from monai_wsss.data.phantoms import PHANTOMS, Phantom
from monai_wsss.data.phantoms.phantom import Lesions, Split


@dataclass(frozen=True)
class Slice:
    """One slice, or one film: stored values, mask of the lesion, mask of the body, and the patient's number."""

    image: np.ndarray
    mask: np.ndarray
    body: np.ndarray
    patient: int


def draw_set(
    kind: str, split: Split, patients: int, size: int, slices: int = 10, lesions: Lesions = "usual", seed: int = 0
) -> list[Phantom]:
    """Draw patients of one split, every second one with the lesion if films, else three of four."""
    healthy = (2,) if PHANTOMS[kind].modality != "DX" else (1, 3)
    streams = {"train": 0, "val": 1, "test": 2}
    return [
        PHANTOMS[kind].draw(
            np.random.default_rng([seed, streams[split], n]), split, n % 4 not in healthy, size, slices, lesions
        )
        for n in range(patients)
    ]


def slices_of(kind: str, phantoms: Sequence[Phantom]) -> list[Slice]:
    """Every slice of every patient, with its body."""
    return [
        Slice(p.image[..., k].astype(float), p.mask[..., k] > 0, _body(kind, p.image[..., k].astype(float)), number)
        for number, p in enumerate(phantoms)
        for k in range(p.image.shape[2])
    ]


def dice(found: np.ndarray, mask: np.ndarray) -> float:
    """Dice of two masks of which one at least is not empty."""
    return float(2 * np.sum(found & mask) / (found.sum() + mask.sum()))


def threshold_dice(
    slices: Sequence[Slice], smoothings: Sequence[float] = (0.0, 1.0), rim: float = 0.0
) -> dict[str, float]:
    """Best Dice that one threshold for all slices reaches, chosen by the true masks.

    The threshold is a rank among the values of the slice's body, so that gain and offset do not matter. Tried are
    brighter and darker, smoothed and not, all pixels and the largest blob.

    Args:
        slices: of one split.
        smoothings: standard deviations of the Gaussian filter, pixels.
        rim: width of the rim of the body that is left out, as a share of the body's diameter.

    Returns:
        "positives": mean over positive slices; "pooled": over all pixels of all slices.
    """
    best = {"positives": 0.0, "pooled": 0.0}
    for smoothing in smoothings:
        ranked = [_ranks(s, smoothing, rim) for s in slices]
        for high in (True, False):
            for level in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 0.99, 0.995):
                hits = [rank >= level if high else (rank >= 0) & (rank <= 1 - level) for rank in ranked]
                for found in (hits, [_largest(hit) for hit in hits]):
                    best = {name: max(best[name], score) for name, score in _scores(found, slices).items()}
    return best


def value_dice(
    slices: Sequence[Slice], low: Sequence[float], high: Sequence[float] = (np.inf,), rim: float = 0.0
) -> dict[str, float]:
    """As `threshold_dice`, of the stored values themselves (Hounsfield units): from a lower to an upper bound."""
    best = {"positives": 0.0, "pooled": 0.0}
    bodies = [_without_rim(s.body, rim) for s in slices]
    for lower in low:
        for upper in high:
            found = [(s.image >= lower) & (s.image <= upper) & body for s, body in zip(slices, bodies, strict=True)]
            best = {name: max(best[name], score) for name, score in _scores(found, slices).items()}
    return best


def prior_dice(train: Sequence[Slice], test: Sequence[Slice]) -> float:
    """Best Dice over positive test slices of one fixed mask: where lesions of the training slices mostly lie."""
    often = np.mean([s.mask for s in train if s.mask.any()], 0)
    levels = np.quantile(often[often > 0], np.linspace(0, 0.99, 30))
    return max(float(np.mean([dice(often >= level, s.mask) for s in test if s.mask.any()])) for level in levels)


def nuisance_auc(phantoms: Sequence[Phantom], slices: Sequence[Slice]) -> dict[str, float]:
    """How well a single number tells a positive from a negative slice, or patient; .5 is not at all, 1 wholly."""
    labels = [bool(s.mask.any()) for s in slices]
    numbers = {
        "mean": [s.image.mean() for s in slices],
        "deviation": [s.image.std() for s in slices],
        "bytes": [len(gzip.compress(s.image.astype(np.int16).tobytes(), mtime=0)) for s in slices],
        "border": [np.concatenate([s.image[[0, -1]].ravel(), s.image[:, [0, -1]].ravel()]).mean() for s in slices],
        "body": [s.body.mean() for s in slices],
    }
    scores = {name: _auc(labels, values) for name, values in numbers.items()}
    if len(slices) > len(phantoms):
        scores["slice position"] = _auc(labels, [k for p in phantoms for k in range(p.image.shape[2])])
    return scores


def patient_nuisance_auc(phantoms: Sequence[Phantom]) -> dict[str, float]:
    """As `nuisance_auc`, of whole patients."""
    ill = [bool(p.mask.any()) for p in phantoms]
    return {
        "mean": _auc(ill, [p.image.mean() for p in phantoms]),
        "deviation": _auc(ill, [p.image.std() for p in phantoms]),
        "bytes": _auc(ill, [len(gzip.compress(p.image.tobytes(), mtime=0)) for p in phantoms]),
    }


def network_auc(
    kind: str, train: Sequence[Slice], test: Sequence[Slice], shuffled: bool, epochs: int = 30, seed: int = 0
) -> float:
    """AUC on test slices of a small network trained on image-level labels, or on the same labels in random order."""
    rng = np.random.default_rng(seed)
    truth = np.array([s.mask.any() for s in train], dtype=np.float32)
    x, y = _inputs(kind, train), torch.from_numpy(_shuffle(truth, rng) if shuffled else truth)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _Network()
        optimiser = torch.optim.AdamW(network.parameters(), 6e-3, weight_decay=0.01)
        batches = max(1, len(x) // 16)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 6e-3, total_steps=epochs * batches)
        for _ in range(epochs):
            for chosen in np.array_split(rng.permutation(len(x)), batches):
                batch = x[chosen]
                batch = batch.flip(2) if rng.random() < 0.5 else batch
                batch = batch.roll([int(step) for step in rng.integers(-3, 4, 2)], (2, 3))
                loss = nn.functional.binary_cross_entropy_with_logits(network(batch), y[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        network.eval()
        with torch.no_grad():
            scores = network(_inputs(kind, test)).numpy()
    return float(roc_auc_score([s.mask.any() for s in test], scores))


def _shuffle(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Labels in random order, as often positive among the true positives as among the rest: a plain permutation of a
    few labels agrees with the truth by chance, more or less than one in two, and a network would show it.
    """
    mixed = np.zeros_like(labels)
    for value in (0, 1):
        members = rng.permutation(np.flatnonzero(labels == value))
        mixed[members[: round(len(members) * float(labels.mean()))]] = 1
    return mixed


class _Network(nn.Module):
    """Four convolutions, then the mean and the greatest value of every channel."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        plan = [(1, width, 2), (width, 2 * width, 2), (2 * width, 4 * width, 2), (4 * width, 4 * width, 1)]
        self.body = nn.Sequential(
            *(
                layer
                for inputs, outputs, stride in plan
                for layer in (
                    nn.Conv2d(inputs, outputs, 5 if inputs == 1 else 3, stride, padding=2 if inputs == 1 else 1),
                    nn.BatchNorm2d(outputs),
                    nn.ReLU(),
                )
            )
        )
        self.head = nn.Linear(8 * width, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        maps = self.body(x)
        return self.head(torch.cat([maps.mean((2, 3)), maps.amax((2, 3))], 1))[:, 0]


def _inputs(kind: str, slices: Sequence[Slice]) -> torch.Tensor:
    """(N, 1, W, H): the brain's window for CT, else standard scores in the body; films less their local mean."""
    images = []
    for s in slices:
        image = s.image
        if PHANTOMS[kind].modality == "CT":
            images.append(np.clip(image, -10, 110) / 40 - 1)
            continue
        inside = image[s.body] if s.body.any() else image
        image = np.clip((image - inside.mean()) / (inside.std() + 1e-6), -3, 3)
        if PHANTOMS[kind].modality == "DX":
            image = image - ndimage.gaussian_filter(image, 3 * len(image) / 64)
        images.append(image)
    return torch.from_numpy(np.stack(images)[:, None].astype(np.float32))


def _body(kind: str, image: np.ndarray) -> np.ndarray:
    level = -300.0 if PHANTOMS[kind].modality == "CT" else 0.6 * threshold_otsu(image)
    return _largest(ndimage.binary_fill_holes(image > level))


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count else mask


def _without_rim(body: np.ndarray, rim: float) -> np.ndarray:
    width = rim * 2 * np.sqrt(body.sum() / np.pi)
    return ndimage.distance_transform_edt(np.pad(body, 1))[1:-1, 1:-1] > width if rim else body


def _ranks(s: Slice, smoothing: float, rim: float) -> np.ndarray:
    """Rank in [0, 1] of each pixel's value among the body's; -1 outside."""
    smooth = ndimage.gaussian_filter(s.image, smoothing) if smoothing else s.image
    body = _without_rim(s.body, rim)
    inside = np.sort(smooth[body])
    return np.where(body, np.searchsorted(inside, smooth) / max(len(inside), 1), -1.0)


def _scores(found: Sequence[np.ndarray], slices: Sequence[Slice]) -> dict[str, float]:
    pairs = [(f, s.mask) for f, s in zip(found, slices, strict=True)]
    both, either = sum(int(np.sum(f & m)) for f, m in pairs), sum(int(f.sum() + m.sum()) for f, m in pairs)
    return {"positives": float(np.mean([dice(f, m) for f, m in pairs if m.any()])), "pooled": 2 * both / either}


def _auc(labels: Sequence[bool], values: Sequence[float]) -> float:
    score = float(roc_auc_score(labels, values))
    return max(score, 1 - score)


def main(
    kind: Annotated[list[str] | None, typer.Option(help="Kinds; all if left out.")] = None,
    lesions: Annotated[str, typer.Option(help="usual, tiny or scattered.")] = "usual",
    train: Annotated[int, typer.Option(help="Training patients (films: ten times as many).")] = 48,
    test: Annotated[int, typer.Option(help="Test patients (films: ten times as many).")] = 24,
    epochs: Annotated[int, typer.Option(help="Of the small network.")] = 30,
    seed: Annotated[int, typer.Option(help="Of phantoms and network.")] = 0,
) -> None:
    """Print what is measured of each kind."""
    for name in kind or PHANTOMS:
        film = PHANTOMS[name].modality == "DX"
        size, times = (64, 10) if film else (96, 1)
        drawn = {
            "train": draw_set(name, "train", times * train, size, lesions=cast(Lesions, lesions), seed=seed),
            "test": draw_set(name, "test", times * test, size, lesions=cast(Lesions, lesions), seed=seed),
        }
        slices = {split: slices_of(name, phantoms) for split, phantoms in drawn.items()}
        few = slices["test"][:240]
        rows: dict[str, Any] = {
            "test slices, share positive": np.mean([s.mask.any() for s in slices["test"]]),
            "area of a lesion, share of the slice": np.mean([s.mask.mean() for s in slices["test"] if s.mask.any()]),
            "oracle threshold, Dice": threshold_dice(few),
            "without the body's rim, smoothed, Dice": threshold_dice(few, (1.0, 1.5), rim=0.1),
            "position prior, Dice": prior_dice(slices["train"], slices["test"]),
            "nuisance of slices, AUC": nuisance_auc(drawn["train"], slices["train"]),
            "nuisance of patients, AUC": patient_nuisance_auc(drawn["train"]),
            "small network, AUC": network_auc(name, slices["train"], slices["test"], False, epochs, seed),
            "shuffled labels, AUC": network_auc(name, slices["train"], slices["test"], True, epochs, seed),
        }
        if PHANTOMS[name].modality == "CT":
            rows["oracle threshold in HU, Dice"] = value_dice(few, range(-50, 200, 5))
            rows["oracle window in HU, no rim, Dice"] = value_dice(few, range(40, 70, 2), (80, 100, 200), rim=0.1)
        typer.echo(f"\n{name}, {lesions} lesions")
        for label, value in rows.items():
            shown = value if isinstance(value, dict) else {"": value}
            typer.echo(f"  {label:40s}" + "  ".join(f"{n} {float(v):.3f}".strip() for n, v in shown.items()))


if __name__ == "__main__":
    typer.run(main)
