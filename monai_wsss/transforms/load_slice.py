"""Read single slices from memory-mapped arrays."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_wsss.errors import InputError


class LoadSliced(MapTransform):
    """Replace `(array file, index)` by slice `index` of the array, a float32 tensor `(C, H, W)`.

    A list of such pairs becomes one tensor, their channels in order.

    The `.npy` array is `(D, C, H, W)`, or `(D, H, W)` for label maps, which gain a channel. It is memory-mapped and
    stays open in each process; a file that is written anew is opened anew.

    Args:
        keys: the keys to read.
        allow_missing_keys: do not complain about absent keys.

    Raises:
        InputError: if the file is missing or has no such slice.
    """

    def __init__(self, keys: KeysCollection, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return `data` with the slices read."""
        items = dict(data)
        for key in self.key_iterator(items):
            pairs = items[key] if isinstance(items[key], list) else [items[key]]
            parts = [_read(str(path), int(index)) for path, index in pairs]
            items[key] = parts[0] if len(parts) == 1 else torch.cat(parts)
        return items


def _read(path: str, index: int) -> torch.Tensor:
    try:
        status = Path(path).stat()
        array = _open(path, status.st_ino, status.st_mtime_ns)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"{path}: missing or unreadable; run the stage that writes it") from error
    if not 0 <= index < len(array):
        raise InputError(f"{path}: no slice {index} among {len(array)}; run the stage that wrote it again")
    image = torch.from_numpy(np.array(array[index], dtype=np.float32))
    return image if image.ndim == 3 else image[None]


@lru_cache(maxsize=256)
def _open(path: str, inode: int, changed_ns: int) -> np.ndarray:
    """Map `path`; inode and time make a replaced file another key."""
    return np.load(path, mmap_mode="r", allow_pickle=False)
