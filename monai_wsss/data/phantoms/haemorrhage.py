"""Acute blood in the head: in the brain's tissue, under the dura, between the arachnoid and the brain, or tiny."""

from __future__ import annotations

import numpy as np
from scipy.special import expit

from monai_wsss.data.phantoms.head import Head, Tissue
from monai_wsss.data.phantoms.lesions import MIN_AREA, foci, plateaus, until_drawn, visible
from monai_wsss.data.phantoms.phantom import Array, Lesions

KINDS = {"intraparenchymal": 0.4, "subdural": 0.3, "subarachnoid": 0.2, "tiny": 0.1}  # shares among usual patients


def haemorrhage(head: Head, tissue: Tissue, lesions: Lesions) -> tuple[Array, Array]:
    """Opacity of the blood and of the oedema around it, both in [0, 1]."""
    rng = head.rng
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values()))) if lesions == "usual" else lesions
    oedema = np.zeros(head.shape)

    def draw() -> Array:
        if kind == "intraparenchymal":
            places = (head.depth > 9) & (tissue.ventricles < -1) & (np.abs(head.u) > 4)
            surface = plateaus(head, places, (5, 10, 3, 6), 3.5) + 0.9 * head.field(3.5) + 0.5 * head.field(1.5)
            oedema[:] = expit(1.5 * (surface + rng.uniform(1.5, 4)))
        elif kind == "subdural":
            surface = _crescent(head)
        elif kind == "subarachnoid":
            surface = _in_the_sulci(head, tissue)
        else:
            places = (head.depth > 2) & (tissue.ventricles < -1) & (np.abs(head.u) > 2)
            count = rng.integers(1, 3) if kind == "tiny" else rng.integers(1, 3) * head.shape[2]
            surface = foci(head, places, int(count), (1.6, 2.8)) + 0.3 * head.field(1.5)
        opacity = expit(3 * surface) * expit(4 * (head.depth + 0.6))
        return opacity * visible(head, opacity, MIN_AREA["tiny"])

    blood = until_drawn(draw)
    return blood, oedema * blood.any((0, 1)) * expit(3 * (head.depth - 1)) * (1 - tissue.fluid)


def _run(head: Head) -> Array:
    """Share in [0, 1] of a lesion's full thickness on each slice: a run of slices with thin ends."""
    slices = head.shape[2]
    length = max(2, round(slices * head.rng.uniform(0.4, 0.75)))
    first = int(head.rng.integers(-(length // 2), slices - (length - 1) // 2))
    height = (np.arange(slices) - first - (length - 1) / 2) / (length / 2 + 0.5)
    return np.sqrt(np.clip(1 - height**2, 0, 1))


def _crescent(head: Head) -> Array:
    """Distance inside a crescent between skull and brain on one side."""
    rng, side = head.rng, head.rng.choice([-1, 1])
    angle = np.arctan2(head.y, side * head.x) - rng.uniform(-0.5, 0.7)  # 0 at the temple, positive behind
    span = np.clip(1 - (angle / rng.uniform(0.6, 1.0)) ** 2, 0, 1)
    thickness = rng.uniform(2.6, 5.5) * np.sqrt(span) * _run(head)
    return np.where((thickness > 1) & (side * head.u > 1.5), thickness - head.depth + 0.4 * head.field(4), -9.0)


def _in_the_sulci(head: Head, tissue: Tissue) -> Array:
    """Distance-like measure of cisterns and sulci near one place of the surface that are filled with blood."""
    rng = head.rng
    angle, reach = rng.uniform(-np.pi, np.pi), rng.uniform(11, 17)
    gap = np.hypot(head.x - 0.85 * np.cos(angle), head.y - 0.85 * np.sin(angle)) * head.half.mean()
    near = reach * _run(head) - gap + 2 * head.field(5)
    return np.minimum(2.5 * (tissue.cisterns - 0.42), near)
