"""A tiny folder as SIIM-ACR is distributed: films, and train-rle.csv by an encoder that loops over pixels."""

import numpy as np
from dicom_files import film_tags, write_dicom

from monai_wsss.data.phantoms import PHANTOMS

ROWS, COLUMNS = 48, 40
ROOT = "1.2.276.0.7230010.3.1.4.8323329"


def uid(number):
    return f"{ROOT}.{number}.15178751{number:02d}"


def encode(mask):
    """The relative code of a mask as a viewer sees it, (rows, columns): down each column, gap and length in turn."""
    code, gap, length = [], 0, 0
    for column in range(mask.shape[1]):
        for row in range(mask.shape[0]):
            if mask[row, column]:
                length += 1
                continue
            if length:
                code += [gap, length]
                gap = length = 0
            gap += 1
    return " ".join(map(str, code + [gap, length] * (length > 0)))


def write_film(folder, number, pixels):
    """One film of uint16 (rows, columns), in a study and series of its own."""
    tags = film_tags(
        PatientID=f"Qpatient{number}",
        StudyInstanceUID=f"{ROOT}.7.{number}",
        SeriesInstanceUID=f"{ROOT}.8.{number}",
        SOPInstanceUID=uid(number),
        Rows=pixels.shape[0],
        Columns=pixels.shape[1],
    )
    path = folder / tags["StudyInstanceUID"] / tags["SeriesInstanceUID"] / f"{uid(number)}.dcm"
    return write_dicom(path, tags, pixels=pixels.astype("<u2").tobytes())


def draw(number, diseased):
    """Pixels and lesion of a phantom, (rows, columns); the lesion is all that is brighter than 4000."""
    size = max(ROWS, COLUMNS)
    phantom = PHANTOMS["cxr_pneumothorax"].draw(np.random.default_rng(number), "train", diseased, size, 1)
    image, mask = (array[:COLUMNS, :ROWS, 0].T for array in (phantom.image, phantom.mask))
    return np.where(mask > 0, 4050, np.clip(image, 0, 3900)), mask > 0


def write_siim_acr(folder, films=8):
    """dicom-images-train/ and train-rle.csv; returns SOPInstanceUID -> lesion (rows, columns) where it can be known.

    Films 0, 1 and 4 are positive: 1 in two rows that overlap, 4 by a code that reaches past the image. Film 6 has no
    row, 7 has its row twice, and one row has no film.
    """
    rows, lesions = [], {}
    for number in range(films):
        pixels, mask = draw(number, number in (0, 1, 4))
        write_film(folder / "dicom-images-train", number, pixels)
        lesions[uid(number)] = mask
        if number == 1:
            at = np.flatnonzero(mask.any(1))
            upper, lower = mask.copy(), mask.copy()
            upper[at[len(at) // 2 + 1] :], lower[: at[len(at) // 3]] = False, False
            rows += [f"{uid(1)}, {encode(upper)}", f"{uid(1)},{encode(lower)}"]
        elif number == 4:
            rows.append(f"{uid(4)}, {ROWS * COLUMNS - 1} 2")
        elif number != 6:
            rows += [f"{uid(number)}, {encode(mask) or '-1'}"] * (2 if number == 7 else 1)
    rows.append(f"{uid(99)},-1")
    (folder / "train-rle.csv").write_text("\n".join(["ImageId, EncodedPixels", *rows]) + "\n")
    return {name: mask for name, mask in lesions.items() if name not in (uid(4), uid(6))}
