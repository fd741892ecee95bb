"""Things on a chest radiograph that are no disease: skin folds, wires, tubes, buttons, nipples, calcified spots."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from monai_wsss.data.phantoms.chest import Chest
from monai_wsss.data.phantoms.phantom import Array

_LETTERS = {"L": ("#...", "#...", "#...", "#...", "####"), "R": ("###.", "#..#", "###.", "#.#.", "#..#")}


def skin_folds(chest: Chest) -> Array:
    """Brightness of folds of skin at the back: an edge like that of a collapsed lung, but markings go on beyond it."""
    rng, image = chest.rng, np.zeros(chest.x.shape)
    for _ in range(rng.choice([0, 1, 2], p=[0.5, 0.35, 0.15])):
        across = rng.choice([-1, 1]) * chest.x
        top, length = rng.uniform(60, 130), rng.uniform(60, 140)
        share = (chest.y - top) / length
        fold = rng.uniform(70, 115) + rng.uniform(-30, 30) * (share - 0.5)
        gap = fold + rng.uniform(-12, 12) * np.sin(np.pi * share) - across  # mm medial to the fold
        ends = expit(share * 20) * expit((1 - share) * 20)
        shade = chest.edge(gap, 0.8) * np.exp(-np.clip(gap, 0, None) / rng.uniform(8, 20))
        image += rng.uniform(0.025, 0.055) * shade * ends
    return image


def companion_shadows(chest: Chest) -> Array:
    """Brightness of fine lines of soft tissue along the lungs' apices, the mediastinum and the clavicles."""
    rng, image = chest.rng, np.zeros(chest.x.shape)
    for lung in chest.lungs:
        if rng.random() < 0.6:
            upper = expit((0.25 - lung.height) * 20)
            image += rng.uniform(0.02, 0.05) * chest.line(lung.to_wall - rng.uniform(2.0, 3.5), 0.8) * upper
        if rng.random() < 0.4:
            image += rng.uniform(0.015, 0.035) * chest.line(lung.to_middle - rng.uniform(2, 5), 0.8)
    return image * chest.air


def emphysema(chest: Chest) -> Array:
    """Share in [0, 1] of lung that is too dark and has few markings, without a pleural line."""
    rng, share = chest.rng, np.zeros(chest.x.shape)
    for _ in range(rng.choice([0, 1, 2], p=[0.55, 0.3, 0.15])):
        x, y, radius = rng.uniform(55, 105), rng.uniform(60, 220), rng.uniform(14, 26)
        gap = np.hypot(rng.choice([-1, 1]) * chest.x - x, 0.7 * (chest.y - y)) + 3 * chest.field(12)
        share = np.maximum(share, expit((radius - gap) / 4))
    return share * chest.air


def devices(chest: Chest) -> Array:
    """Brightness of wires, electrodes, tubes, drains and buttons; as frequent with disease as without."""
    rng, image = chest.rng, np.zeros(chest.x.shape)
    if rng.random() < 0.3:  # wires of an electrocardiogram and their electrodes
        for _ in range(rng.integers(1, 4)):
            x, y = rng.uniform(-110, 110), rng.uniform(70, 240)
            gap = np.hypot(chest.x - x, chest.y - y)
            image += 0.16 * chest.edge(5 - gap, 0.6) - 0.07 * chest.edge(2 - gap, 0.6)
            below = chest.y - y
            wire = chest.x - x - rng.uniform(-0.5, 0.5) * below - 9 * np.sin(below / rng.uniform(25, 50))
            image += 0.12 * chest.line(wire, 0.7) * expit(below)
    if rng.random() < 0.2:  # central line from the neck to the caval vein
        side = rng.choice([-1, 1])
        path = chest.x + 22 - (46 * side + 22) * expit((rng.uniform(70, 90) - chest.y) / 11)
        image += 0.08 * chest.line(path, 1.0) * expit((rng.uniform(130, 190) - chest.y) / 2)
    if rng.random() < 0.12:  # drain with two bright walls
        across = rng.choice([-1, 1]) * chest.x
        path = chest.y - rng.uniform(90, 220) - 0.6 * (across - 100) + 0.004 * (across - 60) ** 2
        walls = chest.line(np.abs(path) - 2.6, 0.7) + 0.3 * chest.edge(2.6 - np.abs(path))
        image += 0.1 * walls * expit((across - rng.uniform(50, 80)) / 1.5)
    if rng.random() < 0.2:
        _buttons(chest, image)
    return image


def _buttons(chest: Chest, image: Array) -> None:
    rng, radius, x = chest.rng, chest.rng.uniform(3.5, 5.5), chest.rng.uniform(-70, 70)
    for number in range(rng.integers(1, 5)):
        gap = np.hypot(chest.x - x - rng.normal(0, 4), chest.y - rng.uniform(70, 90) - 48 * number)
        image += 0.14 * chest.edge(radius - gap, 0.5) - 0.06 * chest.edge(1.2 - gap, 0.5)


def spots(chest: Chest) -> Array:
    """Brightness of round shadows that are no nodules: vessels seen end on, nipples, granulomas, rib cartilage."""
    rng, image = chest.rng, np.zeros(chest.x.shape)

    def spot(x: float, y: float, radius: float, bright: float, soft: float) -> None:
        np.add(image, bright * chest.edge(radius - np.hypot(chest.x - x, chest.y - y), soft), out=image)

    for side in (-1, 1):
        for _ in range(rng.integers(1, 5)):  # end on, near the root of the lung
            reach, angle = rng.uniform(8, 42), rng.uniform(-1.4, 1.4)
            x, y = side * (42 + reach * np.cos(angle)), chest.hilum - 1.4 * reach * np.sin(angle)
            spot(x, y, rng.uniform(1.2, 2.6), rng.uniform(0.08, 0.15), 0.6)
    if rng.random() < 0.35:
        x, y, bright = rng.uniform(72, 92), rng.uniform(208, 240), rng.uniform(0.05, 0.09)
        for side in (-1, 1):
            spot(side * x + rng.normal(0, 3), y + rng.normal(0, 4), rng.uniform(4, 5.5), bright, 1.0)
    for _ in range(rng.integers(0, 3)):  # granulomas: small and as dense as bone
        side, x, y = rng.choice([-1, 1]), rng.uniform(35, 105), rng.uniform(80, 240)
        spot(side * x, y, rng.uniform(0.9, 1.8), rng.uniform(0.18, 0.28), 0.4)
    if rng.random() < 0.4:  # calcified cartilage of the first ribs, below the medial clavicles
        x, y = rng.uniform(36, 46), chest.apex + rng.uniform(42, 56)
        for side in (-1, 1):
            blob = rng.uniform(5, 8) - np.hypot(side * chest.x - x, 1.3 * (chest.y - y)) + 1.2 * chest.field(3)
            image += rng.uniform(0.05, 0.1) * chest.edge(blob, 1.0)
    return image


def marker(chest: Chest) -> Array:
    """Share of a lead letter on the side that it names; most films have one."""
    rng, image = chest.rng, np.zeros(chest.x.shape)
    letter = str(rng.choice(list(_LETTERS)))
    pattern = np.array([[sign == "#" for sign in row] for row in _LETTERS[letter]]).T
    column = int(((146 if letter == "L" else -160) + rng.uniform(-6, 6)) / chest.pixel + chest.size / 2)
    row, step = int(rng.uniform(14, 34) / chest.pixel), max(1, round(2.6 / chest.pixel))
    drawn = np.kron(pattern, np.ones((step, step)))
    if rng.random() < 0.85:
        part = image[column : column + drawn.shape[0], row : row + drawn.shape[1]]
        part += drawn[: part.shape[0], : part.shape[1]]
    return image
