"""Write a mask where its source says it lies."""

from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import Any

from monai.config import KeysCollection
from monai.transforms import MapTransform

from monai_wsss.data.writers import write_mask


class SaveMaskd(MapTransform):
    """Write a label map `(1, H, W, D)` to `<folder>/<case>.nii.gz` where the item's source lies; see `write_mask`.

    Args:
        keys: label maps, MetaTensors on the source's grid.
        folder: where to write.
        case_key: key of the case's name.
        allow_missing_keys: do not complain about absent keys.
    """

    def __init__(
        self, keys: KeysCollection, folder: str, case_key: str = "case", allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.folder, self.case_key = Path(folder), case_key

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Write and return `data` as it is."""
        items = dict(data)
        for key in self.key_iterator(items):
            mask = items[key]
            path, meta = self.folder / f"{items[self.case_key]}.nii.gz", mask.meta
            known = bool(meta.get("spacing_known", True))
            write_mask(path, mask[0].cpu().numpy(), meta["filename_or_obj"], mask.affine.cpu().numpy(), known)
        return items
