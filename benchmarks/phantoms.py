"""Are the phantoms fair? What thresholds, position, nuisance variables and a small network make of each kind.

`python -m benchmarks.phantoms` prints a table for every kind. A task is fair if no threshold finds the lesion, where
lesions mostly lie says little, nothing but the picture tells the label, and a network learns from true labels only.
"""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

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
    """Draw patients of one split: of four, three have the lesion in volumes, two in films."""
    healthy = (2,) if PHANTOMS[kind].modality != "DX" else (1, 2)
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


def threshold_dice(slices: Sequence[Slice], rim: float = 0.0) -> dict[str, float]:
    """Best Dice that one threshold reaches, chosen by the true masks: above or below it, smoothed or not, blob or all.

    Args:
        slices: of one split.
        rim: width of the rim of the body that is left out, as a share of the body's diameter.

    Returns:
        "positives": mean over positive slices; "pooled": over all pixels of all slices.
    """
    best = {"positives": 0.0, "pooled": 0.0}
    for smoothing in (0.0, 1.5):
        ranked = [_ranks(s, smoothing, rim) for s in slices]
        for high in (True, False):
            for level in (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.925, 0.95, 0.965, 0.98, 0.99, 0.995):
                hits = [rank >= level if high else (rank >= 0) & (rank <= 1 - level) for rank in ranked]
                for found in (hits, [_largest(hit) for hit in hits]):
                    scores = [dice(f, s.mask) for f, s in zip(found, slices, strict=True) if s.mask.any()]
                    both = sum(int(np.sum(f & s.mask)) for f, s in zip(found, slices, strict=True))
                    either = sum(int(f.sum() + s.mask.sum()) for f, s in zip(found, slices, strict=True))
                    best["positives"] = max(best["positives"], float(np.mean(scores)))
                    best["pooled"] = max(best["pooled"], 2 * both / either)
    return best


def value_dice(slices: Sequence[Slice], levels: Sequence[float]) -> float:
    """As `threshold_dice` over positive slices, for thresholds of the stored values themselves."""
    return max(
        float(np.mean([dice((s.image >= level) & s.body, s.mask) for s in slices if s.mask.any()])) for level in levels
    )


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
        ill = [bool(p.mask.any()) for p in phantoms]
        scores["patient bytes"] = _auc(ill, [len(gzip.compress(p.image.tobytes(), mtime=0)) for p in phantoms])
        scores["patient mean"] = _auc(ill, [p.image.mean() for p in phantoms])
        scores["slice position"] = _auc(labels, [k for p in phantoms for k in range(p.image.shape[2])])
    return scores


def network_auc(
    kind: str, train: Sequence[Slice], test: Sequence[Slice], shuffled: bool, epochs: int = 12, seed: int = 0
) -> float:
    """AUC on test slices of a small network trained on image-level labels, or on the same labels in random order."""
    rng = np.random.default_rng(seed)
    truth = np.array([s.mask.any() for s in train], dtype=np.float32)
    if shuffled:
        truth = rng.permutation(truth)
    x, y = _inputs(kind, train), torch.from_numpy(truth)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        network = _Network()
        optimiser = torch.optim.AdamW(network.parameters(), 3e-3, weight_decay=0.01)
        batches = max(1, len(x) // 24)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 4e-3, total_steps=epochs * batches)
        for _ in range(epochs):
            for chosen in np.array_split(rng.permutation(len(x)), batches):
                batch = x[chosen]
                batch = batch.flip(2) if rng.random() < 0.5 else batch
                loss = nn.functional.binary_cross_entropy_with_logits(network(batch), y[chosen])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
                schedule.step()
        network.eval()
        with torch.no_grad():
            scores = network(_inputs(kind, test)).numpy()
    return float(roc_auc_score([s.mask.any() for s in test], scores))


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
    """(N, 1, W, H): the brain's window for CT, else zero mean and unit deviation in the body."""
    images = []
    for s in slices:
        if PHANTOMS[kind].modality == "CT":
            images.append(np.clip(s.image, -10, 110) / 40 - 1)
        else:
            inside = s.image[s.body] if s.body.any() else s.image
            images.append(np.clip((s.image - inside.mean()) / (inside.std() + 1e-6), -3, 3))
    return torch.from_numpy(np.stack(images)[:, None].astype(np.float32))


def _body(kind: str, image: np.ndarray) -> np.ndarray:
    level = -300.0 if PHANTOMS[kind].modality == "CT" else 0.6 * threshold_otsu(image)
    return _largest(ndimage.binary_fill_holes(_largest(image > level)))


def _largest(mask: np.ndarray) -> np.ndarray:
    labels, count = ndimage.label(mask)
    return labels == 1 + np.argmax(np.bincount(labels.ravel())[1:]) if count else mask


def _ranks(s: Slice, smoothing: float, rim: float) -> np.ndarray:
    """Rank in [0, 1] of each pixel's value among the body's; -1 outside."""
    smooth = ndimage.gaussian_filter(s.image, smoothing) if smoothing else s.image
    width = rim * 2 * np.sqrt(s.body.sum() / np.pi)
    body = ndimage.distance_transform_edt(np.pad(s.body, 1))[1:-1, 1:-1] > width if rim else s.body
    inside = np.sort(smooth[body])
    return np.where(body, np.searchsorted(inside, smooth) / max(len(inside), 1), -1.0)


def _auc(labels: Sequence[bool], values: Sequence[float]) -> float:
    score = float(roc_auc_score(labels, values))
    return max(score, 1 - score)


def main(
    kind: Annotated[list[str] | None, typer.Option(help="Kinds; all if left out.")] = None,
    lesions: Annotated[str, typer.Option(help="usual, tiny or scattered.")] = "usual",
    train: Annotated[int, typer.Option(help="Training patients (films: ten times as many).")] = 48,
    test: Annotated[int, typer.Option(help="Test patients (films: ten times as many).")] = 32,
    epochs: Annotated[int, typer.Option(help="Of the small network.")] = 16,
    size: Annotated[int, typer.Option(help="Pixels in a row.")] = 96,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    for name in kind or PHANTOMS:
        films = 10 if PHANTOMS[name].modality == "DX" else 1
        phantoms = {
            split: draw_set(name, split, films * count, size, lesions=lesions, seed=seed)  # type: ignore[arg-type]
            for split, count in (("train", train), ("test", test))
        }
        slices = {split: slices_of(name, drawn) for split, drawn in phantoms.items()}
        positives = [s.mask.mean() for s in slices["test"] if s.mask.any()]
        rows: dict[str, object] = {
            "share of positive slices": np.mean([s.mask.any() for s in slices["test"]]),
            "mean area of a lesion": np.mean(positives),
            "oracle threshold": threshold_dice(slices["test"][: 30 * films]),
            "the same without the body's rim": threshold_dice(slices["test"][: 30 * films], rim=0.1),
            "position prior": prior_dice(slices["train"], slices["test"]),
            "nuisance AUC": nuisance_auc(phantoms["train"], slices["train"]),
            "network AUC": network_auc(name, slices["train"], slices["test"], False, epochs),
            "network AUC, shuffled labels": network_auc(name, slices["train"], slices["test"], True, epochs),
        }
        typer.echo(f"\n{name}, {lesions} lesions")
        for label, value in rows.items():
            shown = value if isinstance(value, dict) else {"": value}
            typer.echo(f"  {label:34s}" + "  ".join(f"{n} {float(v):.3f}".strip() for n, v in shown.items()))


if __name__ == "__main__":
    typer.run(main)
