"""run.json: what was run, on what, and how it ended."""

import hashlib
import json
import os
import platform
from datetime import datetime, timezone
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from monai_wsss.data import write_json
from monai_wsss.errors import InputError

VERSION = 1
_PACKAGES = ("monai_wsss", "torch", "monai", "pytorch-ignite", "numpy", "nibabel", "pydensecrf2", "mlflow")


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that shape a result; those not installed are left out."""
    found = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return found


def folder_hash(folder: Path) -> str | None:
    """First 16 hex digits of SHA-256 over the names and bytes of a folder's files, or of one file; None if absent."""
    if not folder.exists():
        return None
    digest = hashlib.sha256()
    files = [folder] if folder.is_file() else sorted(path for path in folder.rglob("*") if path.is_file())
    for path in files:
        if path.name.startswith("."):
            continue
        digest.update(f"{path.relative_to(folder.parent).as_posix()}\0{path.stat().st_size}\0".encode())
        with path.open("rb") as stream:
            while block := stream.read(1 << 20):
                digest.update(block)
    return digest.hexdigest()[:16]


def _now() -> str:
    return datetime.now(timezone.utc).isoformat(timespec="seconds")


class Manifest:
    """The record of a run folder, rewritten whole at every change.

    Args:
        folder: run folder; `run.json` stands in it.

    Raises:
        InputError: a run.json that is broken or of another version.
    """

    def __init__(self, folder: Path) -> None:
        self.path = Path(folder) / "run.json"
        self.content: dict[str, Any] = {"version": VERSION, "stages": {}}
        if self.path.exists():
            try:
                self.content = json.loads(self.path.read_text(encoding="utf-8"))
            except ValueError as error:
                raise InputError(f"{self.path}: not readable as JSON ({error}); remove it to start anew") from error
            if not isinstance(self.content, dict) or self.content.get("version") != VERSION:
                raise InputError(f"{self.path}: written by another version; use a new --out folder")

    def set(self, **values: Any) -> None:
        """Write top-level values."""
        self.content.update(values)
        write_json(self.path, self.content)

    def stage(self, name: str) -> dict[str, Any]:
        """Record of a stage; empty where it has not run."""
        return self.content["stages"].get(name, {})

    def finished(self, name: str, config: str, inputs: dict[str, str | None], output: Path) -> bool:
        """True where the stage ended well with this config and these inputs, and its output is still as it was."""
        record = self.stage(name)
        return (
            record.get("status") in ("done", "skipped")
            and record.get("config") == config
            and record.get("inputs") == inputs
            and record.get("output") == folder_hash(output)
        )

    def drop_others(self, name: str, writes: str) -> bool:
        """Forget other stages that wrote the folder `writes`, which stage `name` writes now; True if there were any."""
        stages = self.content["stages"]
        others = [other for other, record in stages.items() if other != name and record.get("writes") == writes]
        for other in others:
            del stages[other]
        return bool(others)

    def begin(self, name: str, config: str, inputs: dict[str, str | None], seed: int, device: torch.device) -> None:
        """Record that a stage runs now."""
        self.content["stages"][name] = {
            "status": "running",
            "config": config,
            "inputs": inputs,
            "seed": seed,
            "device": torch.cuda.get_device_name(device) if device.type == "cuda" else str(device),
            "threads": torch.get_num_threads(),
            "cores": os.cpu_count(),
            "versions": versions(),
            "started": _now(),
        }
        write_json(self.path, self.content)

    def end(self, name: str, status: str, seconds: float, **values: Any) -> None:
        """Record how a stage ended: `done`, `skipped` or `failed`."""
        self.content["stages"][name].update(status=status, seconds=round(seconds, 2), ended=_now(), **values)
        write_json(self.path, self.content)
