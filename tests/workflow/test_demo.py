"""The demo says where things are and fails below its floor."""

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from monai_wsss import cli
from monai_wsss.data import write_json
from monai_wsss.workflow import demo


@pytest.mark.parametrize(("dice", "code"), [(0.60, 0), (0.91, 0), (0.59, 1), (0.0, 1)])
def test_floor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dice: float, code: int) -> None:
    class Scored:
        def __init__(self, bundle: str, data: str, run: str, **options: Any) -> None:
            self.run_folder = Path(run)

        def run(self) -> None:
            write_json(self.run_folder / "evaluation" / "scores.json", {"positives": {"dice": {"mean": dice}}})

    monkeypatch.setattr(demo, "write_phantoms", lambda out: out)
    monkeypatch.setattr(demo, "prepare", lambda *args, **options: None)
    monkeypatch.setattr(demo, "Pipeline", Scored)
    answer = CliRunner().invoke(cli.app, ["demo", "--out", str(tmp_path / "demo")])
    assert answer.exit_code == code
    for name in ("predictions", "scores.json", "mlruns.db", f"{dice:.2f}"):
        assert name in answer.stdout
