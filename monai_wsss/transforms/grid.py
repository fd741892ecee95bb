"""The deterministic preprocessing of a volume, the same for training and inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from monai.config import KeysCollection
from monai.transforms import Compose

from monai_wsss.data import input_error
from monai_wsss.transforms.load_volume import LoadVolumed
from monai_wsss.transforms.normalize_body import NormalizeBodyd
from monai_wsss.transforms.orient_in_plane import OrientInPlaned
from monai_wsss.transforms.resample_to_grid import ResampleToGridd
from monai_wsss.transforms.window_hu import WindowHUd

_VERSION = 1  # raise it when the same parameters give other voxels: caches are then built anew


class GridPreprocessing(Compose):
    """Load a volume onto the network's grid: `(C, *size, D)` float32, upright slices, body near N(0, 1).

    Load and check, turn the slices upright, normalise inside the body, resample in plane. `monai.transforms.Invertd`
    with this transform brings a prediction back to the source's exact shape and affine.

    With `windows`, CT in Hounsfield units: the windows inside the head, one a channel, in the place of normalising.

    Args:
        keys: keys that hold paths.
        pixel_spacing: side of a pixel, mm; None fits each image whole into the matrix, for images without a pixel size,
            such as chest films and pictures, see `ResampleToGridd`.
        size: matrix in plane, pixels; smaller slices are padded, larger ones cut, about the centre.
        clip: percentiles of the body's intensities, 0 to 100; windows need none.
        inside_body: look for the body and take the percentiles inside it, see `NormalizeBodyd`; False for projections,
            which are all body. None is True with a pixel size or windows, else False. With windows the body is the
            head, and what lies outside it is blackened.
        channels: C: 1 for grey values, of colours the luminance; 3 for red, green and blue, grey values three times.
        windows: level and width of each window, HU, see `WindowHUd`; they are the channels. None for all but CT.

    Attributes:
        channels: C, with windows their number.
        inside_body: whether a body is looked for.
        windows: as given, or None.

    Raises:
        InputError: on call, for a volume that cannot be used.
        ValueError: another number of channels, or a bad spacing, size, clip or window.
    """

    def __init__(
        self,
        keys: KeysCollection = "image",
        pixel_spacing: float | None = 1.0,
        size: Sequence[int] = (256, 256),
        clip: Sequence[float] = (0.5, 99.5),
        inside_body: bool | None = None,
        channels: int = 1,
        windows: Sequence[Sequence[float]] | None = None,
    ) -> None:
        if windows is not None and channels != 1:
            raise ValueError(f"windows are the channels: leave channels at 1, got {channels}")
        looks = pixel_spacing is not None or windows is not None
        self.inside_body = looks if inside_body is None else inside_body
        self._resample = ResampleToGridd(keys, pixel_spacing, size)
        self._normalize = NormalizeBodyd(keys, (clip[0], clip[1]), self.inside_body)
        windowing = None if windows is None else WindowHUd(keys, windows, self.inside_body)
        self.windows = None if windowing is None else windowing.windows
        self.channels = channels if self.windows is None else len(self.windows)
        intensity = windowing or self._normalize
        super().__init__([LoadVolumed(keys, channels=channels), OrientInPlaned(keys), intensity, self._resample])

    @property
    def parameters(self) -> dict[str, Any]:
        """What decides the voxels, as plain data; the cache's key. Newer options stand in it where they are set."""
        return {
            "version": _VERSION,
            "pixel_spacing": self._resample.pixel_spacing,
            "size": list(self._resample.size),
            "clip": list(self._normalize.clip),
            **({} if self.inside_body else {"inside_body": False}),
            **({} if self.windows is None else {"windows": self.windows}),
            **({} if self.channels == 1 or self.windows is not None else {"channels": self.channels}),
        }

    def __call__(self, data: Any, *args: Any, **kwargs: Any) -> Any:  # type: ignore[override]
        """Return `data` with the volumes preprocessed; a bad file raises InputError, not MONAI's wrapped error."""
        try:
            return super().__call__(data, *args, **kwargs)
        except RuntimeError as error:
            reason = input_error(error)
            if reason is None:
                raise
            raise reason from None
