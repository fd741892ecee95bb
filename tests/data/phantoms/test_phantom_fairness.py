"""A phantom task counts only if no threshold and no nuisance solves it, and a network learns from true labels only."""

from dataclasses import dataclass

import numpy as np
import pytest

from benchmarks.phantoms import (
    Slice,
    draw_set,
    network_auc,
    nuisance_auc,
    patient_nuisance_auc,
    prior_dice,
    slices_of,
    threshold_dice,
    value_dice,
)
from monai_wsss.data.phantoms import PHANTOMS, Phantom

# pixels, training and test patients, epochs: as little as shows the point
PLANS = {
    "brain_mri": (48, 16, 12, 10),
    "brain_ct": (64, 40, 20, 20),
    "cxr_pneumothorax": (64, 400, 120, 30),
    "cxr_tuberculosis": (64, 240, 120, 20),
}


@dataclass
class Task:
    kind: str
    phantoms: dict[str, list[Phantom]]
    slices: dict[str, list[Slice]]
    epochs: int


@pytest.fixture(scope="module", params=PLANS)
def task(request: pytest.FixtureRequest) -> Task:
    kind = request.param
    size, train, test, epochs = PLANS[kind]
    phantoms = {"train": draw_set(kind, "train", train, size), "test": draw_set(kind, "test", test, size)}
    return Task(kind, phantoms, {split: slices_of(kind, drawn) for split, drawn in phantoms.items()}, epochs)


def test_thresholding_fails(task: Task) -> None:
    best = threshold_dice(task.slices["test"])
    assert best["positives"] < 0.3 and best["pooled"] < 0.3
    if task.kind == "brain_ct":
        best = value_dice(task.slices["test"], range(-50, 200, 10))
        assert best["positives"] < 0.3 and best["pooled"] < 0.3


def test_position_says_little(task: Task) -> None:
    assert prior_dice(task.slices["train"], task.slices["test"]) < 0.32


def test_nuisance_does_not_tell_the_label(task: Task) -> None:
    assert max(nuisance_auc(task.phantoms["train"], task.slices["train"]).values()) < 0.7


@pytest.mark.parametrize("kind", PLANS)
def test_nuisance_does_not_tell_the_patient(kind: str) -> None:
    draws = [
        PHANTOMS[kind].draw(np.random.default_rng([11, n]), "train", n % 2 == 0, 40, 4, "usual") for n in range(60)
    ]
    assert max(patient_nuisance_auc(draws).values()) < 0.75


def test_a_network_learns_from_true_labels_only(task: Task) -> None:
    learnt, chance = (
        network_auc(task.kind, task.slices["train"], task.slices["test"], shuffled, task.epochs)
        for shuffled in (False, True)
    )
    assert learnt > 0.75  # measured: .97, .94, .89, .84
    assert chance < 0.65  # .52, .43, .44, .50: of so few slices it varies by .1 about one half


def test_the_oracle_finds_what_a_threshold_can_find() -> None:
    # The check of the checks: a bright square in noise of a tenth of its height is found whole.
    rng, mask, body = np.random.default_rng(0), np.zeros((40, 40), bool), np.ones((40, 40), bool)
    mask[10:18, 10:18] = True
    found = threshold_dice([Slice(100 * mask + rng.normal(0, 10, mask.shape), mask, body, n) for n in range(3)])
    assert found["positives"] > 0.9 and found["pooled"] > 0.9
    assert value_dice([Slice(100.0 * mask, mask, body, 0)], [50]) == {"positives": 1.0, "pooled": 1.0}
