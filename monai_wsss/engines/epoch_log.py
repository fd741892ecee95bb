"""One line, one progress step and one MLflow value a metric and epoch."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from ignite.engine import Engine, Events
from monai.engines import Evaluator, SupervisedTrainer, Trainer

from monai_wsss.engines.heartbeat import Heartbeat

logger = logging.getLogger(__name__)


class EpochLog:
    """Reports the trainer's mean loss, its learning rate and the evaluator's metrics after each epoch.

    In epochs that take long it also says now and then how many steps of the whole training are done.

    Args:
        log: receives `(values, step)`, for example `Tracker.log_metrics`.
        evaluator: evaluator whose metrics are reported with the trainer's.
        name: name of the stage, for the log line.
    """

    def __init__(
        self, log: Callable[[Mapping[str, float], int], None], evaluator: Evaluator | None = None, name: str = "train"
    ) -> None:
        self.log, self.evaluator, self.name = log, evaluator, name
        self._losses: list[float] = []
        self._heartbeat: Heartbeat | None = None

    def attach(self, engine: Engine) -> None:
        """Register with a trainer."""
        engine.add_event_handler(Events.EPOCH_STARTED, lambda: self._losses.clear())
        engine.add_event_handler(Events.ITERATION_COMPLETED, self.iteration)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self.epoch)

    def iteration(self, engine: Trainer) -> None:
        """Remember a loss, detached: reading it here would wait for the GPU at every step."""
        output: Any = engine.state.output
        first = output[0] if isinstance(output, list) else output
        self._losses.append(first["loss"].detach())
        if self._heartbeat is None:
            steps = engine.state.max_epochs * engine.state.epoch_length
            self._heartbeat = Heartbeat(f"{self.name}: step", steps)
        self._heartbeat.beat(engine.state.iteration)

    def epoch(self, engine: SupervisedTrainer) -> None:
        """Report the epoch."""
        values = {"loss": sum(float(loss) for loss in self._losses) / max(len(self._losses), 1)}
        values["learning_rate"] = engine.optimizer.param_groups[0]["lr"]
        if self.evaluator is not None and self.evaluator.state.epoch == engine.state.epoch:  # else an earlier epoch's
            values.update({k: float(v) for k, v in self.evaluator.state.metrics.items()})
        self.log({key: value for key, value in values.items() if value == value}, engine.state.epoch)
        text = ", ".join(f"{key} {value:.4g}" for key, value in values.items())
        logger.info("%s: epoch %d/%d, %s", self.name, engine.state.epoch, engine.state.max_epochs, text)
