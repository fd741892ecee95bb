"""The same epoch draws the same numbers, whether training was interrupted before it or not."""

import torch.distributed as dist
from ignite.engine import Engine, Events
from monai.transforms import Randomizable
from monai.utils import set_determinism


class EpochSeed:
    """Seeds every random generator from `(seed, epoch, rank)` when an epoch starts.

    Each process of a distributed run draws numbers of its own; equal ones would augment their batches alike.

    Args:
        seed: seed of the run.
        transform: the data set's transform, whose own generator is seeded too.
    """

    def __init__(self, seed: int, transform: object = None) -> None:
        self.seed, self.transform = seed, transform

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, self.reseed)

    def reseed(self, engine: Engine) -> None:
        """Seed for the epoch that starts."""
        rank = dist.get_rank() if dist.is_initialized() else 0
        number = (self.seed * 100_003 + engine.state.epoch + rank * 15_485_863) % 2**32
        set_determinism(seed=number)
        if isinstance(self.transform, Randomizable):
            self.transform.set_random_state(seed=number)
