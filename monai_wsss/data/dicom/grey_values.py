"""From stored values to grey values: modality LUT, VOI LUT on request, MONOCHROME1, and luminance of colours."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from pydicom.dataset import Dataset

from monai_wsss.data.dicom.elements import item, number, text, values
from monai_wsss.data.dicom.pixel_layout import PixelLayout
from monai_wsss.data.luminance import luminance
from monai_wsss.errors import InputError

_Transform = Callable[[np.ndarray], np.ndarray]
PROJECTION_XRAY = frozenset({"CR", "DX", "MG", "RG", "RF", "XA", "IO", "PX"})


class GreyValues:
    r"""Turn the stored values of a frame into grey values, float32.

    .. math:: g = m(s), \quad v(m(s)) \text{ with } voi, \quad f(lo) + f(hi) - f(s) \text{ for MONOCHROME1}

    with stored value s, modality LUT m (table, or slope and intercept, per frame in enhanced objects), VOI LUT v, their
    composition f, and the range lo..hi that can be stored. MONOCHROME1 is reflected once and by that element alone:
    PresentationLUTShape INVERSE only restates it (DICOM PS3.3 C.7.6.1.1.3). Pixel padding is treated like any value.
    Colours become luminance, and have no LUT. Real-world value maps are not applied.

    Args:
        header: the object.
        layout: of its pixels.
        voi: apply the VOI LUT or the first window, for projection X-ray only.
        big_endian: byte order of tables.
    """

    def __init__(self, header: Dataset, layout: PixelLayout, voi: bool = False, big_endian: bool = False) -> None:
        self.header, self.layout, self.big_endian = header, layout, big_endian
        self.voi = voi and text(header, "Modality").upper() in PROJECTION_XRAY

    def __call__(self, stored: np.ndarray, photometric: str, frame: int = 0) -> np.ndarray:
        """Return the grey values of a frame.

        Args:
            stored: `(rows, columns)`, or `(rows, columns, 3)` of a colour image.
            photometric: photometric interpretation of `stored`, after decoding.
            frame: counts from 0.

        Raises:
            InputError: a table, slope or window that is damaged.
        """
        if photometric.startswith("YBR"):  # its first sample is the luminance
            return (stored if stored.ndim == 2 else stored[..., 0]).astype(np.float32)
        if photometric == "RGB":
            return luminance(stored)
        if photometric == "PALETTE COLOR":
            return luminance(self._palette(stored))
        if not photometric.startswith("MONOCHROME"):
            raise InputError("its photometric interpretation is not supported; convert it")
        transform = self._transform(frame)
        grey = transform(stored)
        if photometric == "MONOCHROME1":
            if self.layout.is_float:
                raise InputError("MONOCHROME1 with floating point values is not defined; convert it")
            grey = transform(np.array(self.layout.stored_range)).sum(dtype=np.float64) - grey
        return grey.astype(np.float32)

    def _transform(self, frame: int) -> _Transform:
        modality = self._modality(frame)
        voi = self._voi(frame, modality) if self.voi else None
        return modality if voi is None else lambda stored: voi(modality(stored))

    def _modality(self, frame: int) -> _Transform:
        source = self._group(frame, "PixelValueTransformationSequence")
        table = item(source, "ModalityLUTSequence")
        if table is not None:
            return self._table(table, "LUT")
        slope, intercept = (_decimal(source, name, value) for name, value in (("Slope", 1.0), ("Intercept", 0.0)))
        if slope == 0:
            raise InputError("its rescale slope is 0, all values would be the same; repair the header")
        if slope == 1 and intercept == 0:
            return lambda stored: stored
        return lambda stored: stored * np.float64(slope) + intercept

    def _voi(self, frame: int, modality: _Transform) -> _Transform | None:
        source = self._group(frame, "FrameVOILUTSequence")
        table = item(source, "VOILUTSequence")
        if table is not None:
            look_up = self._table(table, "LUT")
            return lambda grey: look_up(np.rint(grey).astype(np.int64))
        centre, width = number(source, "WindowCenter"), number(source, "WindowWidth")
        if centre is None or width is None:
            return None
        low, high = sorted(modality(np.array(self.layout.stored_range)).astype(np.float64).tolist())
        return window(centre, width, text(source, "VOILUTFunction").upper() or "LINEAR", low, high)

    def _group(self, frame: int, name: str) -> Dataset:
        """Functional group of a frame: its own, else the shared one, else the object itself."""
        groups = values(self.header, "PerFrameFunctionalGroupsSequence")
        own = groups[frame] if frame < len(groups) and isinstance(groups[frame], Dataset) else None
        return item(own, name) or item(item(self.header, "SharedFunctionalGroupsSequence"), name) or self.header

    def _palette(self, stored: np.ndarray) -> np.ndarray:
        names = [f"{colour}PaletteColorLookupTable" for colour in ("Red", "Green", "Blue")]
        return np.stack([self._table(self.header, name)(stored) for name in names], axis=-1)

    def _table(self, source: Dataset, name: str) -> _Transform:
        """Look-up table (DICOM PS3.3 C.11.1.1): entries, first value mapped, bits an entry; ends reach outwards."""
        descriptor, data = values(source, f"{name}Descriptor"), values(source, f"{name}Data")
        if len(descriptor) != 3 or not data:
            raise InputError("a look-up table is missing, damaged or segmented; convert the image")
        entries, first, bits = (int(value) for value in descriptor)
        entries = entries or 1 << 16
        if self.layout.signed and first >= 1 << 15:
            first -= 1 << 16
        if isinstance(data[0], bytes):
            narrow = bits <= 8 and len(data[0]) < 2 * entries
            table = np.frombuffer(data[0], "u1" if narrow else ">u2" if self.big_endian else "<u2")
        else:
            table = np.array(data)
        if not 0 < entries <= len(table):
            raise InputError("a look-up table is cut short; repair the header")
        table = table[:entries].astype(np.float64)
        return lambda stored: table[np.clip(stored.astype(np.int64) - first, 0, entries - 1)]


def window(centre: float, width: float, function: str, low: float, high: float) -> _Transform:
    """Return the VOI LUT function (DICOM PS3.3 C.11.2.1.2 and C.11.2.1.3) that maps a window to low..high.

    Args:
        centre: of the window.
        width: of the window.
        function: LINEAR, LINEAR_EXACT or SIGMOID.
        low: value below the window.
        high: value above it.

    Raises:
        InputError: an impossible width, or another function.
    """
    if function == "LINEAR":
        centre, width = centre - 0.5, width - 1
    if function not in ("LINEAR", "LINEAR_EXACT", "SIGMOID") or width < 0 or (width == 0 and function != "LINEAR"):
        raise InputError("its display window cannot be used; read it without the window")
    if function == "SIGMOID":
        return lambda grey: low + (high - low) / (1 + np.exp(-4 * (grey - centre) / width))
    if width == 0:
        return lambda grey: np.where(grey <= centre, low, high)
    return lambda grey: low + (high - low) * np.clip((grey - centre) / width + 0.5, 0, 1)


def _decimal(source: Dataset, name: str, default: float) -> float:
    if not values(source, f"Rescale{name}"):
        return default
    found = number(source, f"Rescale{name}")
    if found is None:
        raise InputError(f"its rescale {name.lower()} is no number; repair the header")
    return found
