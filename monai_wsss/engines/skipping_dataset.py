"""A data set that one bad case does not stop."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import IterableDataset

from monai_wsss.data import input_error
from monai_wsss.data.generic_reason import generic_reason
from monai_wsss.errors import InputError

logger = logging.getLogger(__name__)


class SkippingDataset(IterableDataset):
    """Yields the transformed items in order; an item whose reading raises `InputError` is listed, not yielded.

    `skipped` holds the case and the reason of each. Neither tells where the item lies: that may be a name.

    Args:
        data: items with an `image` (path or `Volume`) and a `case`; one with a `problem` is listed with it, not read.
            `aliases` stay behind: they are no input of a network.
        transform: called with each item.
    """

    def __init__(self, data: Sequence[Mapping[str, Any]], transform: Callable[[Any], Any]) -> None:
        self.data, self.transform = list(data), transform
        self.skipped: list[tuple[str, str]] = []

    def __iter__(self) -> Iterator[Any]:
        self.skipped.clear()
        for item in self.data:
            if "problem" in item:
                self._skip(item, item["problem"])
                continue
            try:
                yield self.transform({key: value for key, value in item.items() if key != "aliases"})
            except (InputError, RuntimeError) as error:
                reason = input_error(error)
                if reason is None:
                    raise
                image = item["image"]
                self._skip(item, generic_reason(reason, getattr(image, "files", None) or (Path(image),)))

    def _skip(self, item: Mapping[str, Any], reason: str) -> None:
        case = str(item.get("case", "an item"))
        logger.warning("skipped: %s: %s", case, reason)
        self.skipped.append((case, reason))
