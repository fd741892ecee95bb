"""`python -m benchmarks accuracy ...` measures a table, `python -m benchmarks tables` writes those of the docs."""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
import typer

from benchmarks.accuracy import folders_of, measure, named_folders, one_method, run_fold, save
from benchmarks.activations import activation_curves
from benchmarks.bags import write_bags
from benchmarks.boxes import boxes_table
from benchmarks.calibration import calibration
from benchmarks.cost import cost_table, paper_networks
from benchmarks.curves import label_curves
from benchmarks.erasure import erasure_table
from benchmarks.method_pictures import method_pictures
from benchmarks.pictures import case_pictures
from benchmarks.rows.methods_file import read_methods
from benchmarks.rows.row_names import EXTRAS
from benchmarks.scan import scan_timing
from benchmarks.sites import sites_table
from benchmarks.sizes import size_curve
from benchmarks.tables.plots import draw
from benchmarks.tables.rebuild import format_table, rebuild
from benchmarks.threshold_grid import threshold_grid
from monai_wsss.cli import parse_settings
from monai_wsss.data import input_error
from monai_wsss.errors import InputError

ROOT = Path(__file__).resolve().parent.parent
_BUNDLE = "brain_mri_lesion_mixed_unet"
_FROM_RUN = "Run whose stages are taken where this one has none; the same config and inputs make them count."
_BOXES = "CSV of films' boxes: file, x, y, width, height in pixels of the film."
_BESIDE = "[NAME=]DIR: --work folder of another such table, whose other steps are added as rows."
_Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
_Json = Annotated[Path | None, typer.Option(help="JSON file to write.")]
_Threads = Annotated[int, typer.Option(min=1, help="Threads of the CPU.")]
_Truths = Annotated[Path, typer.Option(help="Prepared folder, with true masks.")]
_Work = Annotated[Path, typer.Option(help="Folder of the runs; a second call goes on where the first stopped.")]
_Overlays = Annotated[list[str] | None, typer.Option(help="Overlay of the bundle.")]
_Settings = Annotated[list[str] | None, typer.Option("--set", help="id=value.")]
_Until = Annotated[str | None, typer.Option(help="Last stage of the method, for ablations of its first steps.")]
_FromRun = Annotated[Path | None, typer.Option(help=_FROM_RUN)]
_Bundle = Annotated[str, typer.Option(help="Name of a bundle.")]
_Picture = Annotated[Path, typer.Option(help="PNG file to write.")]
_Drawn = Annotated[Path | None, typer.Option(help="PNG file to write.")]

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__, pretty_exceptions_enable=False)


@app.command()
def accuracy(
    data: _Truths,
    work: _Work,
    bundle: Annotated[str | None, typer.Option(help=f"Name of a bundle, {_BUNDLE} if not given.")] = None,
    methods: Annotated[Path | None, typer.Option(help="File of methods, in place of a bundle.")] = None,
    overlay: Annotated[list[str] | None, typer.Option(help="Overlay of the bundle, or of every method's.")] = None,
    set_: Annotated[list[str] | None, typer.Option("--set", help="id=value, of every method.")] = None,
    folds: Annotated[int, typer.Option(help="Folds over patients; 1 takes the data's own split.")] = 1,
    fold: Annotated[int | None, typer.Option(help="Make the runs of this fold alone, from 0, and no table.")] = None,
    seeds: Annotated[int, typer.Option(help="Trainings of each fold, each with a seed of its own.")] = 1,
    until: _Until = None,
    row: Annotated[
        list[str] | None, typer.Option(help=f"{', '.join(EXTRAS)}; all, or none with --until or --boxes.")
    ] = None,
    beside: Annotated[list[str] | None, typer.Option(help=_BESIDE)] = None,
    from_run: Annotated[Path | None, typer.Option(help=f"{_FROM_RUN} Or another table's --work folder.")] = None,
    boxes: Annotated[Path | None, typer.Option(help=f"{_BOXES} In the place of true masks.")] = None,
    threads: _Threads = 1,
    device: _Device = "auto",
    json: _Json = None,
) -> None:
    """Run a bundle, or several methods, and what is compared with them; score all rows (protocol W0).

    Processes that each have another --fold may share a --work folder; run it without --fold once they are done.
    """
    _log()
    torch.set_num_threads(threads)
    values, names = parse_settings(set_ or []), overlay or []
    if methods is None:
        compared = one_method(ROOT / "bundles" / (bundle or _BUNDLE), names, values, until, row or None)
    elif bundle or until or row or beside:
        raise InputError("--methods names bundles, stages and rows; leave out --bundle, --until, --row and --beside")
    else:
        compared = read_methods(methods, ROOT / "bundles", names, values)
    if fold is not None and (json or beside):
        raise InputError("--fold makes no table; leave out --json and --beside until all folds are done")
    if fold is not None:
        run_fold(data, compared, work, device, from_run, folds, seeds, boxes, fold)
    else:
        beside_ = named_folders(beside or [])
        _show(measure(data, compared, work, device, beside_, from_run, folds, seeds, boxes), json)


@app.command()
def grid(
    data: _Truths,
    work: _Work,
    foreground: Annotated[list[float], typer.Option(help="dsrg_foreground; once a value.")],
    background: Annotated[list[float], typer.Option(help="dsrg_background; once a value.")],
    bundle: _Bundle = "brain_mri_lesion_dsrg",
    overlay: _Overlays = None,
    set_: _Settings = None,
    from_run: _FromRun = None,
    device: _Device = "auto",
    json: _Json = None,
) -> None:
    """Train DSRG with every pair of growing thresholds and with the paper's; score each (protocol W0)."""
    _log()
    values = parse_settings(set_ or [])
    table = threshold_grid(
        data, ROOT / "bundles" / bundle, work, foreground, background, overlay or [], values, device, from_run
    )
    _show(table, json)


@app.command()
def boxes(
    data: Annotated[Path, typer.Option(help="Prepared folder of films, one class.")],
    boxes: Annotated[Path, typer.Option(help=_BOXES)],
    work: Annotated[Path, typer.Option(help="Folder of the folds; a second call goes on where the first stopped.")],
    bundle: _Bundle = "cxr_pneumothorax_irnet",
    overlay: _Overlays = None,
    set_: _Settings = None,
    folds: Annotated[int, typer.Option(help="Folds over patients.")] = 5,
    seed: Annotated[int, typer.Option(help="Of the folds and the shuffling; --set seed=N is that of training.")] = 0,
    shuffled: Annotated[bool, typer.Option(help="Train on shuffled labels too, which doubles the time.")] = True,
    device: _Device = "auto",
    json: _Json = None,
) -> None:
    """Train a bundle's classifier in every fold; score its class maps against boxes it never saw (protocol W0)."""
    _log()
    values = parse_settings(set_ or [])
    table = boxes_table(
        data, boxes, ROOT / "bundles" / bundle, work, overlay or [], values, folds, seed, shuffled, device
    )
    _show(table, json)


@app.command()
def activations(
    data: Annotated[Path, typer.Option(help="Prepared folder.")],
    work: Annotated[Path, typer.Option(help="Folder that `accuracy` worked in.")],
    out: _Drawn = None,
    beside: Annotated[
        list[str] | None, typer.Option(help="[NAME=]DIR: another such folder, such as untied=DIR; may be repeated.")
    ] = None,
    top: Annotated[int, typer.Option(help="Strongest activations of an image.")] = 10_000,
    device: _Device = "auto",
    json: _Json = None,
) -> None:
    """Draw how activations fall off after a pooling and after the deconvolution of its size (the paper's Fig. 2)."""
    runs = {"": work} | named_folders(beside or [])
    table = activation_curves(data, {label: path / "method" for label, path in runs.items()}, top, device)
    _show(table, json, out)


@app.command()
def sites(
    data: Annotated[Path, typer.Option(help="Prepared folder with sites, one class.")],
    work: _Work,
    bundle: _Bundle = "cxr_tuberculosis_deconv",
    overlay: _Overlays = None,
    set_: _Settings = None,
    device: _Device = "auto",
    json: _Json = None,
) -> None:
    """Test every site with what was trained on the other sites alone (protocol W0)."""
    _log()
    table = sites_table(data, ROOT / "bundles" / bundle, work, overlay or [], parse_settings(set_ or []), device)
    _show(table, json)


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
    data: _Truths,
    work: Annotated[Path, typer.Option(help="Folder that `accuracy` worked in.")],
    out: _Picture,
) -> None:
    """Draw a few test slices with every step of the method."""
    case_pictures(data, work, out)


@app.command()
def figure(
    data: _Truths,
    masks: Annotated[list[str], typer.Option(help="[NAME=]DIR: masks or class maps of the test cases.")],
    out: _Picture,
    cases: Annotated[int, typer.Option(min=1, help="Slices, one a patient.")] = 4,
) -> None:
    """Draw test slices with the outlines of several methods beside the truth (the Mixed-UNet paper's Fig. 4)."""
    method_pictures(data, named_folders(masks), out, cases)


@app.command()
def cost(
    size: Annotated[int, typer.Option(min=16, help="Side of the images, pixels.")] = 256,
    batch_size: Annotated[int, typer.Option(min=1, help="Images at once.")] = 1,
    repeats: Annotated[int, typer.Option(min=1, help="Turns of each network.")] = 20,
    threads: _Threads = 1,
    device: _Device = "auto",
    json: _Json = None,
) -> None:
    """Measure parameters, memory and time of the segmenters beside each other (the Mixed-UNet paper's Table IV)."""
    _show(cost_table(paper_networks(), (size, size), batch_size, device, repeats, threads), json)


@app.command()
def curves(
    data: _Truths,
    work: _Work,
    bundle: _Bundle = _BUNDLE,
    overlay: _Overlays = None,
    set_: _Settings = None,
    patients: Annotated[list[float], typer.Option(help="Share of labelled training patients; once a point.")] = [  # noqa: B006
        0.25,
        0.5,
        1.0,
    ],
    noise: Annotated[list[float], typer.Option(help="Share of labels turned; once a point.")] = [0.05, 0.1, 0.2],  # noqa: B006
    until: _Until = None,
    from_run: _FromRun = None,
    threads: _Threads = 1,
    device: _Device = "auto",
    json: _Json = None,
    out: _Drawn = None,
) -> None:
    """Train on fewer labelled patients, and on wrong labels; score each on the same test cases (protocol W0)."""
    _log()
    torch.set_num_threads(threads)
    values, folder = parse_settings(set_ or []), ROOT / "bundles" / bundle
    table = label_curves(data, folder, work, overlay or [], values, patients, noise, device, until, from_run=from_run)
    _show(table, json, out)


@app.command()
def sizes(
    data: _Truths,
    masks: Annotated[list[str], typer.Option(help="[NAME=]DIR: predictions; a name again is its next fold.")],
    bins: Annotated[int, typer.Option(min=1, help="Bins of lesion size, by quantile.")] = 4,
    json: _Json = None,
    out: _Drawn = None,
) -> None:
    """Score finished predictions in bins of lesion size."""
    _show(size_curve(data, folders_of(masks), bins), json, out)


@app.command(name="calibration")
def reliability(
    data: Annotated[Path, typer.Option(help="Prepared folder.")],
    run: Annotated[list[str], typer.Option(help="[NAME=]DIR: finished run; a name again is its next fold.")],
    json: _Json = None,
    out: _Drawn = None,
) -> None:
    """Compare the classifiers' probabilities of test slices with how often they are right."""
    _show(calibration(data, folders_of(run)), json, out)


@app.command()
def erasure(
    data: Annotated[Path, typer.Option(help="Prepared folder, one class.")],
    run: Annotated[
        list[str], typer.Option(help="[NAME=]DIR: run with class maps; the others are compared with the first.")
    ],
    split: Annotated[str, typer.Option(help="validation or training.")] = "validation",
    every: Annotated[int, typer.Option(min=1, help="Each so many slices.")] = 1,
    device: _Device = "auto",
    json: _Json = None,
) -> None:
    """Compare class maps without a mask: erase where they are strongest, ask the classifiers again."""
    _show(erasure_table(data, named_folders(run), split, every=every, device=device), json)


@app.command()
def tables() -> None:
    """Rebuild every table and picture of the docs from the committed JSON."""
    for path in rebuild(ROOT):
        typer.echo(f"wrote {path.relative_to(ROOT)}")


@app.command()
def scan(
    folder: Annotated[Path, typer.Argument(help="Folder for the generated files.")],
    files: Annotated[int, typer.Option(help="Number of files.")] = 10_000,
) -> None:
    """Time `scan` on generated DICOM headers."""
    typer.echo(scan_timing(folder, files))


def _show(table: Mapping[str, Any], json: Path | None = None, out: Path | None = None) -> None:
    """Save a result, draw it, print it."""
    if json is not None:
        save(table, json)
    if out is not None:
        draw(table, out)
    typer.echo(format_table(table))


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
