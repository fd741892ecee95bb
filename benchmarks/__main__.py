"""`python -m benchmarks accuracy ...` measures a table, `python -m benchmarks tables` writes the tables of the docs."""

import logging
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.accuracy import accuracy as measure
from benchmarks.accuracy import named_folders, save
from benchmarks.activations import activation_curves
from benchmarks.bags import write_bags
from benchmarks.boxes import boxes_table
from benchmarks.pictures import case_pictures
from benchmarks.scan import scan_timing
from benchmarks.sites import sites_table
from benchmarks.tables import format_table, rebuild
from benchmarks.threshold_grid import threshold_grid
from monai_wsss.cli import parse_settings
from monai_wsss.data import input_error
from monai_wsss.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
_FROM_RUN = "Run whose first stages are copied where this one has none; the same config and inputs make them count."
app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


@app.command()
def accuracy(
    data: Annotated[Path, typer.Option(help="Prepared folder, with true masks.")],
    work: Annotated[Path, typer.Option(help="Folder of the runs; a second call goes on where the first stopped.")],
    bundle: Annotated[str, typer.Option(help="Name of a bundle.")] = "brain_mri_lesion_mixed_unet",
    overlay: Annotated[list[str] | None, typer.Option(help="Overlay of the bundle.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="id=value.")] = None,
    until: Annotated[
        str | None, typer.Option(help="Last stage of the method, for ablations of its first steps.")
    ] = None,
    row: Annotated[
        list[str] | None, typer.Option(help="ungated, ceiling, shuffled or random; all, or none with --until.")
    ] = None,
    beside: Annotated[
        list[str] | None,
        typer.Option(help="[NAME=]DIR: --work folder of another such table, whose other steps are added as rows."),
    ] = None,
    from_run: Annotated[Path | None, typer.Option(help=_FROM_RUN)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Run a bundle and its supervised ceiling; score them beside the trivial rows (protocol W0)."""
    _log()
    values = parse_settings(set_ or [])
    folders = named_folders(beside or [])
    table = measure(
        data, ROOT / "bundles" / bundle, work, overlay or [], values, device, until, row or None, folders, from_run
    )
    if json is not None:
        save(table, json)
    typer.echo(format_table(table))


@app.command()
def grid(
    data: Annotated[Path, typer.Option(help="Prepared folder, with true masks.")],
    work: Annotated[Path, typer.Option(help="Folder of the runs; a second call goes on where the first stopped.")],
    foreground: Annotated[list[float], typer.Option(help="dsrg_foreground; once a value.")],
    background: Annotated[list[float], typer.Option(help="dsrg_background; once a value.")],
    bundle: Annotated[str, typer.Option(help="Name of a bundle.")] = "brain_mri_lesion_dsrg",
    overlay: Annotated[list[str] | None, typer.Option(help="Overlay of the bundle.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="id=value.")] = None,
    from_run: Annotated[Path | None, typer.Option(help=_FROM_RUN)] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Train DSRG with every pair of growing thresholds and with the paper's; score each (protocol W0)."""
    _log()
    values = parse_settings(set_ or [])
    table = threshold_grid(
        data, ROOT / "bundles" / bundle, work, foreground, background, overlay or [], values, device, from_run
    )
    if json is not None:
        save(table, json)
    typer.echo(format_table(table))


@app.command()
def boxes(
    data: Annotated[Path, typer.Option(help="Prepared folder of films, one class.")],
    boxes: Annotated[Path, typer.Option(help="CSV: file, x, y, width, height in pixels of the film.")],
    work: Annotated[Path, typer.Option(help="Folder of the folds; a second call goes on where the first stopped.")],
    bundle: Annotated[str, typer.Option(help="Name of a bundle.")] = "cxr_pneumothorax_irnet",
    overlay: Annotated[list[str] | None, typer.Option(help="Overlay of the bundle.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="id=value.")] = None,
    folds: Annotated[int, typer.Option(help="Folds over patients.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the folds and the shuffling; --set seed=N is that of training.")] = 0,
    shuffled: Annotated[bool, typer.Option(help="Train on shuffled labels too, which doubles the time.")] = True,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Train a bundle's classifier in every fold; score its class maps against boxes it never saw (protocol W0)."""
    _log()
    values = parse_settings(set_ or [])
    table = boxes_table(
        data, boxes, ROOT / "bundles" / bundle, work, overlay or [], values, folds, seed, shuffled, device
    )
    if json is not None:
        save(table, json)
    typer.echo(format_table(table))


@app.command()
def activations(
    data: Annotated[Path, typer.Option(help="Prepared folder.")],
    work: Annotated[Path, typer.Option(help="Folder that `accuracy` worked in.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
    beside: Annotated[
        list[str] | None, typer.Option(help="[NAME=]DIR: another such folder, such as untied=DIR; may be repeated.")
    ] = None,
    top: Annotated[int, typer.Option(help="Strongest activations of an image.")] = 10_000,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Draw how activations fall off after a pooling and after the deconvolution of its size (the paper's Fig. 2)."""
    runs = {"": work} | named_folders(beside or [])
    table = activation_curves(data, {label: path / "method" for label, path in runs.items()}, out, top, device)
    if json is not None:
        save(table, json)
    typer.echo(format_table(table))


@app.command()
def sites(
    data: Annotated[Path, typer.Option(help="Prepared folder with sites, one class.")],
    work: Annotated[Path, typer.Option(help="Folder of the runs; a second call goes on where the first stopped.")],
    bundle: Annotated[str, typer.Option(help="Name of a bundle.")] = "cxr_tuberculosis_deconv",
    overlay: Annotated[list[str] | None, typer.Option(help="Overlay of the bundle.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="id=value.")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")] = "auto",
    json: Annotated[Path | None, typer.Option(help="JSON file to write.")] = None,
) -> None:
    """Test every site with what was trained on the other sites alone (protocol W0)."""
    _log()
    table = sites_table(data, ROOT / "bundles" / bundle, work, overlay or [], parse_settings(set_ or []), device)
    if json is not None:
        save(table, json)
    typer.echo(format_table(table))


@app.command()
def bags(
    images: Annotated[Path, typer.Option(help="Folder of volumes, PatientID.nii.gz.")],
    labels: Annotated[Path, typer.Option(help="Table with PatientID, slice (from 0) and class columns.")],
    masks: Annotated[Path, typer.Option(help="Folder of true masks, named as the volumes.")],
    split: Annotated[Path, typer.Option(help="JSON: train, val and test, a list of patients each.")],
    out: Annotated[Path, typer.Option(help="Folder to write; must not be there.")],
    slices: Annotated[int, typer.Option(help="Slices of a bag.")] = 8,
) -> None:
    """Cut volumes with slice labels into artificial studies of a few slices with one label each, for `prepare`."""
    counts = write_bags(images, labels, masks, split, out, slices)
    positive = ", ".join(f"{number} with {label}" for label, number in counts["positive"].items())
    typer.echo(f"{counts['bags']} bags of {counts['patients']} patients, {positive}")
    typer.echo(
        f"Next: monai-wsss prepare {out}/images --labels {out}/labels.csv --masks {out}/masks --keep-names --out DATA; "
        f"with {out}/slice_labels.csv in its place the same bags have their slices' labels."
    )


@app.command()
def pictures(
    data: Annotated[Path, typer.Option(help="Prepared folder, with true masks.")],
    work: Annotated[Path, typer.Option(help="Folder that `accuracy` worked in.")],
    out: Annotated[Path, typer.Option(help="PNG file to write.")],
) -> None:
    """Draw a few test slices with every step of the method."""
    case_pictures(data, work, out)


@app.command()
def tables() -> None:
    """Rebuild every table in the README files from the committed JSON."""
    for path in rebuild(ROOT):
        typer.echo(f"wrote {path.relative_to(ROOT)}")


@app.command()
def scan(
    folder: Annotated[Path, typer.Argument(help="Folder for the generated files.")],
    files: Annotated[int, typer.Option(help="Number of files.")] = 10_000,
) -> None:
    """Time `scan` on generated DICOM headers."""
    typer.echo(scan_timing(folder, files))


def _log() -> None:
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for name in ("ignite", "monai"):
        logging.getLogger(name).setLevel(logging.ERROR)


if __name__ == "__main__":
    try:
        app()
    except (InputError, RuntimeError) as error:
        reason = input_error(error)
        if reason is None:
            raise
        raise SystemExit(f"error: {reason}") from error
