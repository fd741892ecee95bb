"""The command line: each command is a call into `workflow` or `data`."""

import math
import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml

from monai_wsss.console import bar, console, is_first_process, set_up_logging, user_error
from monai_wsss.errors import InputError

# Torch and MONAI take seconds to load: each command imports what it needs, so that `--help` answers at once.

app = typer.Typer(
    help="Lesion masks from image-level labels: scan, prepare, run, infer, evaluate, export.\n\n"
    "Exit codes: 0 everything done; 1 done, but some cases were skipped and are listed; 2 bad input.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)
SKIPPED, BAD_INPUT, INTERRUPTED = 1, 2, 130

Device = Annotated[str, typer.Option(help="auto (the GPU, if there is one), cpu, cuda or cuda:N.")]


KeepNames = Annotated[
    bool, typer.Option("--keep-names", help="Write names as they are: for data that is already anonymised.")
]
Mapping = Annotated[
    Path | None,
    typer.Option(help="Also write a table from keyed hashes to names in clear. Keep it apart from everything else."),
]
SeriesOption = Annotated[
    str | None,
    typer.Option(
        help='Rule that chooses the series, such as "Modality=MR, SeriesDescription~FLAIR", or all.'
        "  [default: the only usable one of a study]"
    ),
]


@app.command()
def scan(
    folder: Annotated[Path, typer.Argument(help="Folder to look through, with its subfolders.")],
    json_: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write everything found here.")] = None,
    data: Annotated[Path | None, typer.Option(help="Prepared folder whose key makes the hashes.")] = None,
    keep_names: KeepNames = False,
    workers: Annotated[int | None, typer.Option(help="Threads that read files.  [default: 8]")] = None,
) -> None:
    """List the series of a folder from their headers: what is usable, and why the rest is not.

    Patients, studies and series show as keyed hashes; without --data the key is made for this call alone.
    """
    from monai_wsss.data import Pseudonyms
    from monai_wsss.data.scan import scan as scan_folder

    if data is not None and not (data / "key").exists() and not keep_names:
        raise InputError(f"{data}: holds no key; give a folder that `prepare` wrote, or leave --data out")
    names = Pseudonyms.open(data / "key", keep_names) if data else Pseudonyms(None if keep_names else os.urandom(32))
    with bar("reading headers") as show:
        report = scan_folder(folder, json_, names, workers, progress=show)
    for line in report.lines():
        typer.echo(line)
    if not report.complete:
        raise typer.Exit(SKIPPED)


@app.command()
def prepare(
    input: Annotated[Path, typer.Argument(help="Folder of DICOM, NIfTI, PNG or JPEG files, with its subfolders.")],
    out: Annotated[Path, typer.Option(help="Prepared folder to write: dataset.json, images/ and cache/.")],
    labels: Annotated[
        Path | None,
        typer.Option(
            help="CSV, TSV or XLSX table of labels, one row a study, image or slice; or the table of --format."
        ),
    ] = None,
    format_: Annotated[
        str,
        typer.Option(
            "--format",
            metavar="NAME",
            help="What INPUT and --labels are: table, for any folder and a table of labels, or a public data set as it "
            "is distributed: siim-acr (with train-rle.csv), voc, coco, tb-cxr, head-ct.",
        ),
    ] = "table",
    classes: Annotated[
        str | None, typer.Option(help="Label columns, comma separated.  [default: those that hold only yes and no]")
    ] = None,
    series: SeriesOption = None,
    blank: Annotated[
        str, typer.Option(help="Empty labels: mask (unknown), zeros, ones, or a number in 0..1.")
    ] = "mask",
    uncertain: Annotated[
        str, typer.Option(help="Labels such as -1 or possible: mask (unknown), zeros, ones, or a number in 0..1.")
    ] = "mask",
    slice_key: Annotated[
        str | None,
        typer.Option(
            help="How the table counts slices: 0-based, 1-based, InstanceNumber or SOPInstanceUID."
            "  [default: by the column's name; `slice` is 0-based]"
        ),
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
    group_column: Annotated[
        str | None, typer.Option(help="Column that joins patients: the same value is the same person.")
    ] = None,
    leave_out_site: Annotated[
        str | None, typer.Option(help="Test on this site (column `site`), train on the others.")
    ] = None,
    temporal: Annotated[bool, typer.Option("--temporal", help="Test on the newest patients.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the split.")] = 0,
    masks: Annotated[
        Path | None, typer.Option(help="Folder of true masks, named as the images; only `evaluate` reads them.")
    ] = None,
    resample: Annotated[
        bool, typer.Option("--resample", help="Mend missing slices and gantry tilt by interpolation.")
    ] = False,
    voi: Annotated[bool, typer.Option("--voi", help="Apply the display window of X-ray films.")] = False,
    keep_names: KeepNames = False,
    mapping: Mapping = None,
) -> None:
    """Match images with labels, split by patient, bring each image on the network's grid once.

    Called again after an interruption it goes on where it stopped. Everything written carries keyed hashes in place of
    names; the key stands in OUT/key.
    """
    from monai_wsss.workflow.prepare_formats import prepare_format

    try:
        shares = tuple(float(share) for share in split.split(",")) if split else None
    except ValueError as error:
        raise InputError(f"--split {split}: give three shares such as 0.7,0.1,0.2") from error
    with bar("preparing") as show:
        report = prepare_format(
            format_,
            input,
            labels,
            out,
            classes=[name.strip() for name in classes.split(",")] if classes else None,
            blank=blank,
            uncertain=uncertain,
            slice_key=slice_key,
            series=series,
            resample=resample,
            voi=voi,
            split=shares,
            split_column=split_column,
            group_column=group_column,
            leave_out_site=leave_out_site,
            temporal=temporal,
            masks=masks,
            keep_names=keep_names,
            mapping=mapping,
            seed=seed,
            progress=show,
        )
    for line in report.lines():
        typer.echo(line)
    typer.echo(f"Look at {out / 'labelled_slices.png'} and {out / 'cohort_flow.png'} before training.")
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

    first = is_first_process()
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
    input: Annotated[Path, typer.Argument(help="DICOM, NIfTI, PNG or JPEG file, or folder of them.")],
    out: Annotated[Path, typer.Option(help="Folder to write: CASE.nii.gz and the tables.")],
    series: SeriesOption = None,
    data: Annotated[
        Path | None, typer.Option(help="Prepared folder whose key makes the names.  [default: OUT.key, made once]")
    ] = None,
    keep_names: KeepNames = False,
    mapping: Mapping = None,
    device: Device = "auto",
) -> None:
    """Write a mask for each volume, in its geometry, with statistics.csv, slices.csv and skipped.csv."""
    from monai_wsss.workflow.infer_command import infer as infer_folder

    with bar("inferring") as show:
        counts = infer_folder(
            run,
            input,
            out,
            device,
            data=data,
            keep_names=keep_names,
            mapping=mapping,
            series=series,
            progress=show,
        )
    typer.echo(f"{counts['cases']} masks in {out}; statistics: {out / 'statistics.csv'}")
    if counts["skipped"]:
        typer.echo(f"{counts['skipped']} skipped, see {out / 'skipped.csv'}")
        raise typer.Exit(SKIPPED)


@app.command()
def evaluate(
    pred: Annotated[Path, typer.Option(help="Folder of predictions, CASE.nii.gz.")],
    truth: Annotated[Path, typer.Option(help="Folder of true masks with the same names.")],
    out: Annotated[Path, typer.Option(help="JSON file to write.")],
    data: Annotated[
        Path | None, typer.Option(help="Prepared folder that tells which case a true mask's own name means.")
    ] = None,
) -> None:
    """Score predictions against true masks."""
    from monai_wsss.workflow.evaluation import evaluate as evaluate_folders
    from monai_wsss.workflow.evaluation import format_table

    with bar("scoring") as show:
        result = evaluate_folders(pred, truth, out, data=data, progress=show)
    typer.echo(format_table(result))
    typer.echo(f"wrote {out}")
    if result["skipped"] or result["missing"]:
        raise typer.Exit(SKIPPED)


@app.command()
def forget(
    patient: Annotated[str, typer.Argument(help="The patient's ID, or its keyed hash.")],
    data: Annotated[Path, typer.Option(help="Prepared folder.")],
    runs: Annotated[
        list[Path] | None, typer.Option(help="Folder to search for runs besides those noted; may be repeated.")
    ] = None,
    mapping: Annotated[Path | None, typer.Option(help="Table of names that `prepare --mapping` wrote.")] = None,
    delete_from_runs: Annotated[
        bool, typer.Option("--delete-from-runs", help="Delete the patient's files in these runs too.")
    ] = False,
) -> None:
    """Remove a withdrawn patient from a prepared folder, and list the runs that used it."""
    from monai_wsss.workflow.forget import forget as forget_patient

    for line in forget_patient(patient, data, runs or (), mapping, delete_from_runs).lines():
        typer.echo(line)


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
    out: Annotated[Path, typer.Option(help="Folder to write: studies/, data/ and run/.")] = Path("demo"),
    bundle: Annotated[Path, typer.Option(help="Bundle folder.")] = Path("bundles/brain_mri_lesion_mixed_unet"),
) -> None:
    """Generate a DICOM export of brain MRI phantoms with a spreadsheet of labels, and run everything on it."""
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


def main() -> None:
    """Run the command line; bad input ends with one line and exit code 2."""
    set_up_logging()
    try:
        app(standalone_mode=True)
    except (InputError, RuntimeError, OSError) as error:
        reason = user_error(error)
        if reason is None:
            raise
        console.print(f"error: {reason}", style="red", markup=False, highlight=False)
        sys.exit(BAD_INPUT)
    except SystemExit as end:
        if end.code == INTERRUPTED:
            console.print("interrupted; the same command goes on where it stopped", style="yellow")
        raise
