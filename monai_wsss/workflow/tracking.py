"""MLflow tracking: one parent run a run folder, one child a stage, none left RUNNING."""

import logging
import os
import re
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from monai.utils import optional_import

from monai_wsss.data import causes, reason_of
from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import PLACE_IDS
from monai_wsss.workflow.manifest import Manifest

logger = logging.getLogger(__name__)
EXPERIMENT = "monai_wsss"
_ENVIRONMENT = {  # where the user has not set them
    "MLFLOW_DISABLE_TELEMETRY": "true",  # else MLflow reports its use to its makers
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",  # a server that is down holds a training up for seconds, not 4 minutes
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "20",  # seconds
}
_answered: set[str] = set()  # stores that this process has written to


class Tracker:
    """Values, parameters and pictures of one stage; does nothing where tracking is off.

    A store that falls silent stops nothing: what it did not take is lost, and one warning says so. The next stage tries
    it again.

    Args:
        uri: `auto` = `sqlite:///<run>/mlruns.db`, `none` = off, or any MLflow tracking URI.
        run_folder: run folder; its name names the parent run.
        stage: name of the stage; the child run is `<run folder>/<stage>`.

    Raises:
        InputError: on entry, if the store cannot be opened and has not been before by this process.
    """

    def __init__(self, uri: str, run_folder: Path, stage: str) -> None:
        self.uri, self.run_folder, self.stage = uri, Path(run_folder).resolve(), stage
        self.shown = _without_password(uri)
        self.client: Any = None
        self.parent = self.child = ""

    def __enter__(self) -> "Tracker":
        if self.uri in ("none", ""):
            return self
        for name, value in _ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        mlflow, installed = optional_import("mlflow")
        if not installed:
            logger.warning('tracking is off: `pip install "monai_wsss[mlflow]"`, or set tracking_uri to none')
            return self
        mlflow.telemetry.set_telemetry_client()  # MONAI imported it before the environment was set
        # Creating the store logs every table otherwise, and a server that is down every new attempt.
        for name, level in (("alembic", logging.WARNING), ("mlflow", logging.WARNING), ("urllib3", logging.ERROR)):
            logging.getLogger(name).setLevel(level)
        uri = f"sqlite:///{self.run_folder / 'mlruns.db'}" if self.uri == "auto" else self.uri
        try:
            artifacts = _make_store(uri)
            self.client = mlflow.MlflowClient(uri)
            self._open(artifacts)
        except Exception as error:  # every kind of store has errors of its own
            if self.shown not in _answered:
                raise InputError(
                    f"tracking '{self.shown}': {_reason(error)}; give auto, none or an MLflow tracking URI"
                ) from error
            self._give_up(error)
        _answered.add(self.shown)
        return self

    def _open(self, artifacts: str | None) -> None:
        experiment = self.client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            number = self.client.create_experiment(EXPERIMENT, artifact_location=artifacts)
        else:
            number = experiment.experiment_id
        manifest = Manifest(self.run_folder)
        record = manifest.content.get("mlflow", {})
        if record.get("uri") == self.shown and self._has(record["run"]):
            self.parent = record["run"]
            for stale in self.client.search_runs([number], f"tags.`mlflow.parentRunId` = '{self.parent}'"):
                if stale.info.status == "RUNNING":  # a process that was killed could not end its run
                    self.client.set_terminated(stale.info.run_id, "KILLED")
            self.client.update_run(self.parent, status="RUNNING")
        else:
            self.parent = self.client.create_run(number, run_name=self.run_folder.name).info.run_id
            manifest.set(mlflow={"uri": self.shown, "run": self.parent})
        for key, value in _choices(manifest).items():
            self.client.set_tag(self.parent, key, value)
        tags = {"mlflow.parentRunId": self.parent}
        name = f"{self.run_folder.name}/{self.stage}"  # MLflow's charts show nothing else of a run
        self.child = self.client.create_run(number, tags=tags, run_name=name).info.run_id

    def _has(self, run: str) -> bool:
        """False where the store was removed or replaced since the manifest was written."""
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_run(run).info.lifecycle_stage == "active"
        except MlflowException:
            return False

    def _send(self, method: str, *arguments: Any, **options: Any) -> None:
        """Call the client, as long as the store answers."""
        if self.client is None:
            return
        try:
            getattr(self.client, method)(*arguments, **options)
        except Exception as error:  # noqa: BLE001 - as above; a training of hours must not end for its log
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.client = None
        logger.warning("%s: goes on without tracking, '%s' failed: %s", self.stage, self.shown, _reason(error))

    def log_params(self, params: Mapping[str, Any]) -> None:
        """Log a stage's hyperparameters: its config's flat values."""
        if self.client is not None:
            from mlflow.entities import Param

            self._send("log_batch", self.child, params=[Param(key, str(value)) for key, value in params.items()])

    def log_metrics(self, metrics: Mapping[str, float], step: int = 0) -> None:
        """Log values of one epoch; with step 0 of the whole stage, which the parent run has too, as `<stage>/<key>`."""
        if self.client is None:
            return
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        runs = [(self.child, "")] if step else [(self.child, ""), (self.parent, f"{self.stage}/")]
        for run, prefix in runs:
            values = [Metric(f"{prefix}{key}", float(value), now, step) for key, value in metrics.items()]
            self._send("log_batch", run, metrics=values)

    def log_picture(self, path: Path) -> None:
        """Log a picture file."""
        self._send("log_artifact", self.child, str(path), "pictures")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        status = "FINISHED" if kind is None else "KILLED" if issubclass(kind, KeyboardInterrupt) else "FAILED"
        for run in (self.child, self.parent):
            self._send("set_terminated", run, status)


def _reason(error: Exception) -> str:
    """One line: what the system said (`Connection refused`), else what MLflow did."""
    said = [cause.strerror for cause in causes(error) if isinstance(cause, OSError) and cause.strerror]
    return said[-1] if said else _without_password(" ".join(reason_of(error).split()))


def _without_password(text: str) -> str:
    """Logs and run folders are handed on."""
    return re.sub(r"//[^/@\s]*@", "//", text)


def _choices(manifest: Manifest) -> dict[str, str]:
    """What the parent run is told apart by; ids of place are paths of this machine and stay here."""
    content = manifest.content
    overrides = {k: v for k, v in content.get("overrides", {}).items() if k not in PLACE_IDS}
    return {
        "bundle": content.get("bundle", ""),
        "overlays": ", ".join(content.get("overlays", [])),
        "overrides": ", ".join(f"{k}={v}" for k, v in overrides.items()),
    }


def _make_store(uri: str) -> str | None:
    """Make an sqlite store that is not there yet; returns where it keeps pictures, None for another kind of store.

    Left to itself, MLflow takes and notes the working directory, which may lie among the user's studies.
    """
    if not uri.startswith("sqlite:///"):
        return None
    database = Path(uri.removeprefix("sqlite:///")).resolve()
    artifacts = (database.parent / "mlruns").as_uri()
    if not database.exists():
        from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore

        SqlAlchemyStore(f"sqlite:///{database}", artifacts)
    return artifacts
