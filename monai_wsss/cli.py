"""The command line: each command is a call into `workflow` or `data`."""

import logging
import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.logging import RichHandler
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from monai_wsss.errors import InputError

# Torch and MONAI take seconds to load: each command imports what it needs, so that `--help` answers at once.

app = typer.Typer(
    help="Lesion masks from image-level labels.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True, soft_wrap=True)
SKIPPED, BAD_INPUT = 1, 2

Out = Annotated[Path, typer.Option("--out", help="Folder to write.")]


@contextmanager
def _bar(title: str) -> Iterator[Any]:
    """A progress bar on standard error; yields a function of (done, total)."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total, *_: progress.update(task, completed=done, total=total)


@app.command()
def prepare(
    input: Annotated[Path, typer.Argument(help="Folder of NIfTI volumes.")],
    labels: Annotated[Path, typer.Option(help="CSV table of labels, one row a volume or (column `slice`) a slice.")],
    out: Out,
    classes: Annotated[str | None, typer.Option(help="Label columns, comma separated; default: all 0/1 ones.")] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Shares of training, validation and test patients; default: the table's split column, or 0.7,0.1,0.2."
        ),
    ] = None,
    split_column: Annotated[str | None, typer.Option(help="Column that names each patient's split.")] = None,
    masks: Annotated[Path | None, typer.Option(help="Folder of true masks; read by `evaluate` alone.")] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
) -> None:
    """Match volumes with labels, split by patient, preprocess: writes OUT/dataset.json and OUT/cache."""
    from monai_wsss.workflow.prepare import prepare as prepare_folder

    try:
        shares = tuple(float(share) for share in split.split(",")) if split else None
    except ValueError as error:
        raise InputError(f"--split {split}: give three shares such as 0.7,0.1,0.2") from error
    with _bar("preparing") as bar:
        report = prepare_folder(
            input,
            labels,
            out,
            classes=[name.strip() for name in classes.split(",")] if classes else None,
            split=shares,
            split_column=split_column,
            masks=masks,
            seed=seed,
            progress=bar,
        )
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"wrote {out / 'dataset.json'}; next: monai-wsss run BUNDLE --data {out} --out RUN")
    if not report.complete:
        raise typer.Exit(SKIPPED)


@app.command()
def run(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder.")],
    data: Annotated[Path, typer.Option(help="Prepared folder.")],
    out: Out,
    overlay: Annotated[list[str] | None, typer.Option(help="Overlay of the bundle, such as small.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    set_: Annotated[list[str] | None, typer.Option("--set", help="Any id of the bundle's configs: id=value.")] = None,
    from_: Annotated[str | None, typer.Option("--from", help="Run this stage again, and those after it.")] = None,
    until: Annotated[str | None, typer.Option(help="Last stage to run.")] = None,
    tracking: Annotated[str, typer.Option(help="auto (sqlite in OUT), none, or an MLflow URI.")] = "auto",
) -> None:
    """Run a bundle's stages; those already done are skipped."""
    from monai_wsss.workflow import Pipeline

    pipeline = Pipeline(
        str(bundle),
        str(data),
        str(out),
        overlays=overlay or [],
        overrides=parse_settings(set_ or []),
        device=device,
        tracking_uri=tracking,
        from_stage=from_,
        until_stage=until,
        progress=lambda name: console.rule(name, style="dim"),
    )
    for name, record in pipeline.run().items():
        summary = ", ".join(f"{key} {_short(value)}" for key, value in record.get("summary", {}).items())
        typer.echo(
            f"{name}: {record.get('status')} in {record.get('seconds', 0):.0f} s{'; ' if summary else ''}{summary}"
        )
    for name in ("predictions", "evaluation/scores.json", "mlruns.db"):
        if (out / name).exists():
            typer.echo(f"{name}: {out / name}")


@app.command()
def infer(
    run: Annotated[Path, typer.Argument(help="Run folder, or an exported bundle.")],
    input: Annotated[Path, typer.Argument(help="NIfTI file or folder.")],
    out: Out,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
) -> None:
    """Write a mask for each volume, in its geometry, with statistics.csv and skipped.csv."""
    from monai_wsss.workflow.infer_command import infer as infer_folder

    with _bar("inferring") as bar:
        counts = infer_folder(run, input, out, device, progress=bar)
    typer.echo(f"{counts['cases']} masks in {out}; statistics: {out / 'statistics.csv'}")
    if counts["skipped"]:
        typer.echo(f"{counts['skipped']} skipped, see {out / 'skipped.csv'}")
        raise typer.Exit(SKIPPED)


@app.command()
def evaluate(
    pred: Annotated[Path, typer.Option(help="Folder of predictions, CASE.nii.gz.")],
    truth: Annotated[Path, typer.Option(help="Folder of true masks with the same names.")],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
) -> None:
    """Score predictions against true masks."""
    from monai_wsss.workflow.evaluation import evaluate as evaluate_folders
    from monai_wsss.workflow.evaluation import format_table

    with _bar("scoring") as bar:
        result = evaluate_folders(pred, truth, out, progress=bar)
    typer.echo(format_table(result))
    typer.echo(f"wrote {out}")
    if result["skipped"] or result["missing"]:
        raise typer.Exit(SKIPPED)


@app.command()
def export(
    run: Annotated[Path, typer.Argument(help="Run folder.")],
    out: Out,
) -> None:
    """Write a self-contained bundle with the trained weights and a model card, without patient data."""
    from monai_wsss.workflow.export import export_bundle

    typer.echo(f"wrote {export_bundle(run, out)}")


@app.command()
def demo(
    out: Out = Path("demo"),
    bundle: Annotated[Path, typer.Option(help="Bundle folder.")] = Path("bundles/brain_mri_lesion_mixed_unet"),
) -> None:
    """Generate phantoms of brain MRI with lesions and run everything on them."""
    from monai_wsss.workflow.demo import run_demo

    for line in run_demo(out, bundle, progress=lambda name: console.rule(name, style="dim")):
        typer.echo(line)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Values of `id=value` settings, each value read as YAML.

    Raises:
        InputError: a setting without `=`, or a value that is no YAML.
    """
    values = {}
    for text in settings:
        name, found, value = text.partition("=")
        if not found or not name:
            raise InputError(f"--set {text}: give id=value")
        try:
            values[name.strip()] = _number(yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise InputError(f"--set {text}: the value is not YAML") from error
    return values


def _number(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text; MONAI's configs, and people, mean a number."""
    if isinstance(value, str):
        try:
            return float(value)
        except ValueError:
            return value
    return value


def _short(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def main() -> None:
    """Run the command line; bad input ends with one line and exit code 2."""
    logging.basicConfig(
        level=logging.INFO, format="%(message)s", handlers=[RichHandler(console=console, show_path=False)]
    )
    for name in ("ignite", "monai"):
        logging.getLogger(name).setLevel(logging.WARNING)
    logging.getLogger("monai.bundle.workflows").setLevel(logging.ERROR)  # warns that logging is ours
    if not os.environ.get("MONAI_WSSS_WARNINGS"):
        warnings.filterwarnings("ignore", module=r"(monai|ignite|mlflow|torch)\b")
    try:
        app(standalone_mode=True)
    except (InputError, RuntimeError) as error:
        from monai_wsss.engines import input_error

        reason = input_error(error)
        if reason is None:
            raise
        console.print(f"error: {reason}", style="red", markup=False, highlight=False)
        sys.exit(BAD_INPUT)
