"""Inference on any volumes with a run's or an exported bundle's networks."""

from collections.abc import Callable
from pathlib import Path

from monai.bundle import ConfigWorkflow

from monai_wsss.errors import InputError


def infer(
    source: Path,
    volumes: Path,
    out: Path,
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write a mask for every volume and the three tables into `out`.

    Args:
        source: run folder, or exported bundle.
        volumes: NIfTI file, folder, or prepared folder (its test split).
        out: folder to write.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        progress: called with the cases done and the cases in all.

    Returns:
        Numbers of `cases` and `skipped`.

    Raises:
        InputError: neither a run folder nor a bundle, no volume, or no weights.
    """
    run = (source / "run.json").exists()
    bundle = source / "bundle" if run else source
    config = bundle / "configs" / "inference.yaml"
    if not config.exists():
        raise InputError(f"{source}: neither a run folder nor a bundle (no {config.relative_to(source)})")
    if not volumes.exists():
        raise InputError(f"{volumes}: no such file or folder")
    if out.resolve() == (volumes if volumes.is_dir() else volumes.parent).resolve():
        raise InputError(f"{out}: holds the volumes themselves, masks would replace them; choose another --out folder")
    places = {"dataset_dir": str(volumes), "predictions_dir": str(out), "device": device, "tracking_uri": "none"}
    workflow = ConfigWorkflow(
        config_file=str(config),
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(bundle.resolve()),
        output_dir=str(source if run else out),
        distributed=False,
        **places,
    )
    workflow.initialize()
    stage = workflow.parser.get_parsed_content("stage")
    counts = stage.predict(out, progress)
    workflow.finalize()
    return counts
