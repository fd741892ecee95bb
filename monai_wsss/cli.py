"""The command line: each command is a call into `workflow` or `data`."""

import errno
import logging
import math
import os
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from monai_wsss.errors import InputError

# Torch and MONAI take seconds to load: each command imports what it needs, so that `--help` answers at once.

app = typer.Typer(
    help="Lesion masks from image-level labels: prepare, run, infer, evaluate, export.\n\n"
    "Exit codes: 0 everything done; 1 done, but some cases were skipped and are listed; 2 bad input.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
console = Console(stderr=True, soft_wrap=True)
SKIPPED, BAD_INPUT = 1, 2

Device = Annotated[str, typer.Option(help="auto (the GPU, if there is one), cpu, cuda or cuda:N.")]


class _ConsoleLog(logging.Handler):
    """One line a record, above a progress bar, never wrapped."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        console.print(self.format(record), style=style, markup=False, highlight=False)


@contextmanager
def _bar(title: str) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error, a line now and then in a log; yields a function of (done, total)."""
    if not console.is_terminal:
        from monai_wsss.engines import Heartbeat

        yield Heartbeat(title, 0).beat
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total, *_: progress.update(task, completed=done, total=total)


@app.command()
def prepare(
    input: Annotated[Path, typer.Argument(help="Folder of NIfTI volumes, searched with its subfolders.")],
    labels: Annotated[Path, typer.Option(help="CSV table of labels, one row a volume or (column `slice`) a slice.")],
    out: Annotated[Path, typer.Option(help="Prepared folder to write: dataset.json and cache/.")],
    classes: Annotated[
        str | None, typer.Option(help="Label columns, comma separated.  [default: every column of 0 and 1]")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(
            help="Shares of training, validation and test patients."
            "  [default: the table's column `split`, or 0.7,0.1,0.2]"
        ),
    ] = None,
    split_column: Annotated[
        str | None, typer.Option(help="Column of the table that says train, val or test for each patient.")
    ] = None,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of true masks, named as the volumes; only `evaluate` reads them.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
) -> None:
    """Match volumes with labels, split by patient, preprocess each volume once.

    Called again after an interruption it goes on where it stopped.
    """
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
    typer.echo(f"The whole report: {out / 'prepare.json'}. Next: monai-wsss run BUNDLE --data {out} --out RUN")
    if not report.complete:
        raise typer.Exit(SKIPPED)


@app.command()
def run(
    bundle: Annotated[Path, typer.Argument(help="Bundle folder, or the name of one in ./bundles.")],
    data: Annotated[Path, typer.Option(help="Prepared folder (monai-wsss prepare).")],
    out: Annotated[Path, typer.Option(help="Run folder to write; called again, finished stages are skipped.")],
    overlay: Annotated[
        list[str] | None, typer.Option(help="Overlay of the bundle, such as small (for a CPU); may be repeated.")
    ] = None,
    device: Device = "auto",
    set_: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            metavar="ID=VALUE",
            help="Any one-line id of the bundle's configs/*.yaml, such as train_epochs=40; may be repeated.",
        ),
    ] = None,
    from_: Annotated[
        str | None, typer.Option("--from", metavar="STAGE", help="Run this stage and those after it again.")
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="STAGE", help="Last stage to run.")] = None,
    tracking: Annotated[
        str, typer.Option(help="MLflow: auto (a sqlite store in OUT), none, or a tracking URI.")
    ] = "auto",
) -> None:
    """Run a bundle's stages; those already done are skipped."""
    from monai_wsss.workflow import Pipeline

    first = _is_first_process()
    pipeline = Pipeline(
        str(_find_bundle(bundle)),
        str(data),
        str(out),
        overlays=overlay or [],
        overrides=parse_settings(set_ or []),
        device=device,
        tracking_uri=tracking,
        from_stage=from_,
        until_stage=until,
        progress=(lambda name: console.rule(name, style="dim")) if first else None,
    )
    records = pipeline.run()
    if not first:
        return
    for name, record in records.items():
        summary = ", ".join(f"{key} {_short(value)}" for key, value in record.get("summary", {}).items())
        words = [f"{name}: {record['status']} in {record['seconds']:.0f} s", record.get("reason"), summary]
        typer.echo("; ".join(word for word in words if word))
    for name, title in (("predictions", "masks"), ("evaluation/scores.json", "scores"), ("mlruns.db", "MLflow store")):
        if (out / name).exists():
            typer.echo(f"{title}: {out / name}")
    skipped = records.get("infer", {}).get("summary", {}).get("skipped", 0)
    if skipped:
        typer.echo(f"{skipped} skipped, see {out / 'predictions' / 'skipped.csv'}")
        raise typer.Exit(SKIPPED)


@app.command()
def infer(
    run: Annotated[Path, typer.Argument(help="Run folder, or an exported bundle.")],
    input: Annotated[Path, typer.Argument(help="NIfTI file, or folder of them.")],
    out: Annotated[Path, typer.Option(help="Folder to write: CASE.nii.gz and the tables.")],
    device: Device = "auto",
) -> None:
    """Write a mask for each volume, in its geometry, with statistics.csv, slices.csv and skipped.csv."""
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
    run: Annotated[Path, typer.Argument(help="Finished run folder.")],
    out: Annotated[Path, typer.Option(help="Bundle folder to write; `monai-wsss infer` takes it in place of a run.")],
) -> None:
    """Write a self-contained bundle with the trained weights and a model card, without patient data."""
    from monai_wsss.workflow.export import export_bundle

    typer.echo(f"wrote {export_bundle(run, out)}")


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write: phantoms/, data/ and run/.")] = Path("demo"),
    bundle: Annotated[Path, typer.Option(help="Bundle folder.")] = Path("bundles/brain_mri_lesion_mixed_unet"),
) -> None:
    """Generate phantoms of brain MRI with lesions and run everything on them."""
    from monai_wsss.workflow.demo import run_demo

    lines, sane = run_demo(out, bundle, progress=lambda name: console.rule(name, style="dim"))
    for line in lines:
        typer.echo(line)
    if not sane:
        console.print("error: below the floor, so something is broken", style="red")
        raise typer.Exit(SKIPPED)


def parse_settings(settings: list[str]) -> dict[str, Any]:
    """Values of `id=value` settings, each value read as YAML.

    Raises:
        InputError: a setting without `=`, or a value that is no YAML.
    """
    values = {}
    for text in settings:
        name, found, value = text.partition("=")
        if not found or not name.strip():
            raise InputError(f"--set {text}: give id=value, such as train_epochs=40")
        try:
            values[name.strip()] = _numbers(yaml.safe_load(value))
        except yaml.YAMLError as error:
            raise InputError(f"--set {text}: the value is not YAML; lists are written [a, b]") from error
    return values


def _numbers(value: Any) -> Any:
    """YAML 1.1 reads 1e-3 as text; MONAI's configs, and people, mean a number."""
    if isinstance(value, list):
        return [_numbers(item) for item in value]
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return value
        return number if math.isfinite(number) else value
    return value


def _short(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _find_bundle(bundle: Path) -> Path:
    """A bundle folder as given, or of this name in ./bundles."""
    named = Path("bundles") / bundle
    return named if not bundle.exists() and named.exists() else bundle


def _is_first_process() -> bool:
    """False in the other processes that `torchrun` starts, which have nothing to say."""
    return os.environ.get("RANK", "0") == "0"


def _set_up_logging() -> None:
    handler = _ConsoleLog()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO if _is_first_process() else logging.WARNING, handlers=[handler])
    for name in ("ignite", "monai"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # MONAI sets this logger up itself when it is imported, and warns that logging is left to us.
    logging.getLogger("monai.bundle.workflows").addFilter(lambda record: "Logging file" not in record.getMessage())
    if not os.environ.get("MONAI_WSSS_WARNINGS"):
        warnings.filterwarnings("ignore", module=r"(monai|ignite|mlflow|torch)\b")


def _reason(error: BaseException) -> str | None:
    """One line for an error that the user can do something about; None for a fault of the program."""
    from torch import OutOfMemoryError

    from monai_wsss.data import causes, input_error

    found = input_error(error)
    if found is not None:
        return " ".join(str(found).split())
    for cause in causes(error):
        if isinstance(cause, OutOfMemoryError):
            return "the GPU's memory ran out; set smaller batches (such as --set train_batch_size=4) or --device cpu"
        if isinstance(cause, OSError) and (cause.filename or cause.errno == errno.ENOSPC):
            return f"{cause.filename or 'output folder'}: {cause.strerror}"
    return None


def main() -> None:
    """Run the command line; bad input ends with one line and exit code 2."""
    _set_up_logging()
    try:
        app(standalone_mode=True)
    except (InputError, RuntimeError, OSError) as error:
        reason = _reason(error)
        if reason is None:
            raise
        console.print(f"error: {reason}", style="red", markup=False, highlight=False)
        sys.exit(BAD_INPUT)
