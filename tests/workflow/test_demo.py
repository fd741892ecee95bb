"""The demo starts from an export and a table, says where things are and fails below its floor."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from typer.testing import CliRunner

from monai_wsss import cli
from monai_wsss.data import write_json
from monai_wsss.data.phantoms.dicom_plan import plan_studies
from monai_wsss.workflow import demo
from monai_wsss.workflow.cohort_flow import CohortFlow


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the demo asked of its parts; `dice` is what they answer."""
    asked = SimpleNamespace(dice=0.91)

    def prepare(input: Path, labels: Path, out: Path, **options: Any) -> SimpleNamespace:
        asked.prepare = {"input": input, "labels": labels, "out": out, **options}
        flow = CohortFlow()
        flow.step("Found", volumes=123, patients=45)
        return SimpleNamespace(flow=flow)

    class Scored:
        def __init__(self, bundle: str, data: str, run: str, **options: Any) -> None:
            self.run_folder = Path(run)

        def run(self) -> None:
            write_json(self.run_folder / "evaluation" / "scores.json", {"positives": {"dice": {"mean": asked.dice}}})

    monkeypatch.setattr(demo, "write_studies", lambda out, patients: out)
    monkeypatch.setattr(demo, "prepare", prepare)
    monkeypatch.setattr(demo, "Pipeline", Scored)
    return asked


@pytest.mark.parametrize(("dice", "code"), [(0.60, 0), (0.91, 0), (0.59, 1), (0.0, 1)])
def test_floor(tmp_path: Path, calls: SimpleNamespace, dice: float, code: int) -> None:
    calls.dice = dice
    answer = CliRunner().invoke(cli.app, ["demo", "--out", str(tmp_path / "demo")])
    assert answer.exit_code == code
    said = answer.stdout.replace("\n", "")
    for name in ("export", "slice_labels.csv", "123 volumes", "predictions", "scores.json", "mlruns.db", f"{dice:.2f}"):
        assert name in said


def test_starts_from_an_export_and_a_table(tmp_path: Path, calls: SimpleNamespace) -> None:
    said: list[str] = []
    lines, sane = demo.run_demo(tmp_path, tmp_path / "bundle", said.append)
    asked = calls.prepare
    assert (asked["input"], asked["labels"]) == (
        tmp_path / "studies" / "export",
        tmp_path / "studies" / "slice_labels.csv",
    )
    assert asked["out"] == tmp_path / "data" and asked["masks"] == tmp_path / "studies" / "masks"
    assert asked["series"] == "SeriesDescription~flair" and not asked.get("keep_names")
    assert sane and said == ["studies", "prepare"] and any(str(tmp_path / "data" / "key") in line for line in lines)


def test_size() -> None:
    good = [study for study in plan_studies(demo.PATIENTS, 0) if not study.fault]
    assert [sum(study.split == split for study in good) for split in ("train", "val", "test")] == [28, 4, 8]
