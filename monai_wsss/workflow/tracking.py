"""MLflow tracking: one parent run a run folder, one child a stage, none left RUNNING."""

import logging
import re
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.utils import optional_import

from monai_wsss.data import reason_of
from monai_wsss.errors import InputError
from monai_wsss.workflow.manifest import Manifest

logger = logging.getLogger(__name__)
EXPERIMENT = "monai_wsss"


class Tracker:
    """Values, parameters and pictures of one stage; does nothing where tracking is off.

    Args:
        uri: `auto` = `sqlite:///<run>/mlruns.db`, `none` = off, or any MLflow tracking URI.
        run_folder: run folder; its name names the parent run.
        stage: name of the child run.

    Raises:
        InputError: on entry, if the store cannot be opened.
    """

    def __init__(self, uri: str, run_folder: Path, stage: str) -> None:
        self.uri, self.run_folder, self.stage = uri, Path(run_folder).resolve(), stage
        self.client: Any = None
        self.parent = self.child = ""

    def __enter__(self) -> "Tracker":
        if self.uri in ("none", ""):
            return self
        mlflow, installed = optional_import("mlflow")
        if not installed:
            logger.warning('tracking is off: `pip install "monai_wsss[mlflow]"`, or set tracking_uri to none')
            return self
        for name in ("alembic", "mlflow"):  # creating the store logs every table otherwise
            logging.getLogger(name).setLevel(logging.WARNING)
        database = self.run_folder / "mlruns.db" if self.uri == "auto" else None
        artifacts = (self.run_folder / "mlruns").as_uri() if database else None
        try:
            if database and not database.exists():
                _create_store(database, str(artifacts))
            self.client = mlflow.MlflowClient(f"sqlite:///{database}" if database else self.uri)
            self._open(artifacts)
        except Exception as error:  # every kind of store has errors of its own
            reason = " ".join(reason_of(error).split())
            raise InputError(f"tracking '{self.uri}': {reason}; give auto, none or an MLflow tracking URI") from error
        return self

    def _open(self, artifacts: str | None) -> None:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            number = self.client.create_experiment(EXPERIMENT, artifact_location=artifacts)
        else:
            number = experiment.experiment_id
        manifest = Manifest(self.run_folder)
        record = manifest.content.get("mlflow", {})
        uri = re.sub(r"//[^/@]*@", "//", self.uri)  # without a password: the run folder may be handed on
        if record.get("uri") == uri and self._has(record["run"]):
            self.parent = record["run"]
            for stale in self.client.search_runs([number], f"tags.`mlflow.parentRunId` = '{self.parent}'"):
                if stale.info.status == "RUNNING":  # a process that was killed could not end its run
                    self.client.set_terminated(stale.info.run_id, "KILLED")
            self.client.update_run(self.parent, status="RUNNING")
        else:
            self.parent = self.client.create_run(number, run_name=self.run_folder.name).info.run_id
            manifest.set(mlflow={"uri": uri, "run": self.parent})
        tags = {"mlflow.parentRunId": self.parent}
        self.child = self.client.create_run(number, tags=tags, run_name=self.stage).info.run_id

    def _has(self, run: str) -> bool:
        """False where the store was removed or replaced since the manifest was written."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(run).info.lifecycle_stage == "active"
        except MlflowException:
            return False

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log a stage's hyperparameters: its config's flat values."""
        if self.client is None:
            return
        for key, value in params.items():
            self.client.log_param(self.child, key, value)

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log values of one epoch or of the whole stage."""
        if self.client is None:
            return
        for key, value in metrics.items():
            self.client.log_metric(self.child, key, float(value), step=step)

    def log_picture(self, path: Path) -> None:
        """Log a picture file."""
        if self.client is not None:
            self.client.log_artifact(self.child, str(path), "pictures")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.client is None:
            return
        status = "FINISHED" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        for run in (self.child, self.parent):
            self.client.set_terminated(run, status)


def _create_store(database: Path, artifacts: str) -> None:
    """Left to itself, MLflow notes the working directory in a new store, which may lie among the user's studies."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

    SqlAlchemyStore(f"sqlite:///{database}", artifacts)
