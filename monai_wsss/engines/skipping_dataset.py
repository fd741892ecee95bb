"""A data set that one bad case does not stop."""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch.utils.data import IterableDataset

from monai_wsss.data import input_error
from monai_wsss.errors import InputError

logger = logging.getLogger(__name__)


class SkippingDataset(IterableDataset):
    """Yields the transformed items in order; an item whose reading raises `InputError` is listed, not yielded.

    Args:
        data: items with an `image` path.
        transform: called with each item.
    """

    def __init__(self, data: Sequence[Mapping[str, Any]], transform: Callable[[Any], Any]) -> None:
        self.data, self.transform = list(data), transform
        self.skipped: list[tuple[str, str]] = []

    def __iter__(self) -> Iterator[Any]:
        self.skipped.clear()
        for item in self.data:
            try:
                yield self.transform(dict(item))
            except (InputError, RuntimeError) as error:
                reason = input_error(error)
                if reason is None:
                    raise
                logger.warning("skipped: %s", reason)
                self.skipped.append((str(item["image"]), str(reason)))
