"""Tiny folders as the sets of Montgomery and Shenzhen are distributed: films, readings, masks of lungs."""

from functools import cache

import numpy as np
from PIL import Image

from monai_wsss.data.phantoms import PHANTOMS

MONTGOMERY = {  # 0162 and 0166 are one patient
    "MCUCXR_0001_0": "Patient's Sex: F \nPatient's Age: 027Y\nnormal\n",
    "MCUCXR_0002_0": "Patient's Sex: O \nPatient's Age: 005Y\nNormal.",
    "MCUCXR_0162_1": "Patient's Sex: M \nPatient's Age: 049Y\nextensive cavitary infiltrates, smear positive",
    "MCUCXR_0166_1": "Patient's Sex: M \nPatient's Age: 049Y\nNO REPORT (same pt as MCUCXR_0162_1)",
}
SHENZHEN = {
    "CHNCXR_0001_0": "male 45yrs\nnormal\n",
    "CHNCXR_0002_0": "female24yrs\nnormale",
    "CHNCXR_0003_0": "femal 32yrs\nnormal",
    "CHNCXR_0004_0": "female 64days\nnormal",
    "CHNCXR_0005_0": "male 42\nnormal",
    "CHNCXR_0006_0": "male 16month\nnormal",
    "CHNCXR_0327_1": "male 30yrs\nbilateral PTB",
    "CHNCXR_0328_1": "male , 29yrs  \t\nsecondary PTB in the right upper field",
    "CHNCXR_0329_1": "Female, 28yrs\n1.PTB in the left upper field; 2.pleural thickening",
    "CHNCXR_0330_1": "male 33yrs\nright upper pneumonia",
    "CHNCXR_0331_1": "female 50yrs\nATB",
    "CHNCXR_0332_1": "male 61yrs\ntuberculosis pleuritis",
}
READINGS = MONTGOMERY | SHENZHEN
SIZES = {"MCUCXR": (40, 48), "CHNCXR": (36, 36)}  # width, height


@cache
def draw(name):
    """Film and lesion `(rows, columns)` of 8 bits."""
    width, height = SIZES[name[:6]]
    rng = np.random.default_rng(int(name[7:11]) + 1000 * name.startswith("M"))
    phantom = PHANTOMS["cxr_tuberculosis"].draw(rng, "train", name.endswith("1"), 48, 1)
    image, mask = (array[:width, :height, 0].T for array in (phantom.image, phantom.mask))
    return np.clip(image / 16, 0, 255).astype(np.uint8), mask > 0


def write_film(folder, name):
    """A film of Montgomery is grey; one of Shenzhen has a palette of greys, as most of the real ones."""
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.fromarray(draw(name)[0])
    if name.startswith("CHN"):
        picture = picture.convert("P")
        picture.putpalette(np.repeat(np.arange(256), 3).astype(np.uint8).tobytes())
    picture.save(folder / f"{name}.png")


def write_tb_cxr(root, names=READINGS, outlines=False):
    """MontgomerySet and ChinaSet_AllFiles below `root`; returns film -> outlined lesion, if there shall be any.

    Outlines are of Shenzhen alone: two halves of each lesion, and none of film 0332.
    """
    lesions = {}
    for name in names:
        montgomery = name.startswith("MCU")
        folder = root / ("MontgomerySet" if montgomery else "ChinaSet_AllFiles")
        write_film(folder / "CXR_png", name)
        (folder / "ClinicalReadings").mkdir(exist_ok=True)
        (folder / "ClinicalReadings" / f"{name}.txt").write_text(READINGS[name])
        width, height = SIZES[name[:6]]
        lungs = Image.fromarray(np.arange(width * height).reshape(height, width) % width > 5)
        for side in ("ManualMask/leftMask", "ManualMask/rightMask") if montgomery else ():
            (folder / side).mkdir(parents=True, exist_ok=True)
            lungs.save(folder / side / f"{name}.png")
        if not montgomery:
            (folder / "mask").mkdir(exist_ok=True)
            lungs.save(folder / "mask" / f"{name}_mask.png")
        if outlines and not montgomery and name.endswith("1") and name != "CHNCXR_0332_1":
            lesions[name] = draw(name)[1]
            write_outlines(folder / "Annotations" / "masks", name, lesions[name])
    return lesions


def write_outlines(folder, name, lesion):
    """The upper and the lower part of a lesion, which overlap, as two abnormalities."""
    folder.mkdir(parents=True, exist_ok=True)
    rows = np.flatnonzero(lesion.any(1))
    upper, lower = lesion.copy(), lesion.copy()
    upper[rows[len(rows) // 2] + 1 :] = False
    lower[: rows[len(rows) // 3]] = False
    for part, kind in ((upper, "Cavity_1"), (lower, "Small_Infiltrate_(non-linear)_2")):
        Image.fromarray(255 * part.astype(np.uint8)).save(folder / f"{name}_{kind}.png")
