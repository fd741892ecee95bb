"""Inference on any volumes with a run's or an exported bundle's networks."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from monai.bundle import ConfigWorkflow

from monai_wsss.data import Pseudonyms, Volume
from monai_wsss.data.mapping_table import MappingRow, write_mapping
from monai_wsss.data.pseudonyms import KEY_FILE, key_beside
from monai_wsss.errors import InputError


def infer(
    source: Path,
    volumes: Path,
    out: Path,
    device: str = "auto",
    data: Path | None = None,
    keep_names: bool = False,
    mapping: Path | None = None,
    series: str | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, int]:
    """Write a mask for every volume and the three tables into `out`.

    Args:
        source: run folder, or exported bundle.
        volumes: DICOM, NIfTI or picture file, folder, or prepared folder (its test split).
        out: folder to write.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        data: prepared folder whose key makes the names; None takes `out`.key, which is made once.
        keep_names: name masks as their sources, for data that is already anonymised.
        mapping: file for the table of names in clear; None writes none.
        series: rule that chooses among series, or "all"; None takes the one that the run's data was prepared with.
        progress: called with the cases done and the cases in all.

    Returns:
        Numbers of `cases` and `skipped`.

    Raises:
        InputError: neither a run folder nor a bundle, no volume, no weights, or several series and no rule.
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
    if mapping is not None and (volumes / "dataset.json").exists():
        raise InputError(f"{volumes}: is prepared and holds no name; `prepare --mapping` writes the table")
    keep_names = keep_names or (data is not None and Pseudonyms.of_prepared(data).keeps_names)
    key_file = None if keep_names else (key_beside(out) if data is None else data / KEY_FILE)
    places: dict[str, Any] = {
        "dataset_dir": str(volumes),
        "predictions_dir": str(out),
        "device": device,
        "tracking_uri": "none",
    }
    names: dict[str, Any] = {
        "keep_names": keep_names,
        "key_file": None if key_file is None else str(key_file),
    }
    if series is not None:
        names["series"] = series
    workflow = ConfigWorkflow(
        config_file=str(config),
        logging_file=False,
        workflow_type="infer",
        bundle_root=str(bundle.resolve()),
        output_dir=str(source if run else out),
        distributed=False,
        **places,
        **names,
    )
    workflow.initialize()
    stage = workflow.parser.get_parsed_content("stage")
    counts = stage.predict(out, progress)
    workflow.finalize()
    if mapping is not None:
        pseudonyms = Pseudonyms.open(key_file or "", keep_names)
        write_mapping(mapping, [_row(item, dict(stage.cases.skipped), pseudonyms) for item in stage.cases.data])
    return counts


def _row(item: Mapping[str, Any], skipped: Mapping[str, str], names: Pseudonyms) -> MappingRow:
    """An item of `inference_items` in clear and in hashes."""
    case, volume = str(item["case"]), item["image"]
    status = skipped.get(case, "done")
    if not isinstance(volume, Volume):
        return MappingRow(case, path=str(volume), status=status)
    tags = volume.tags
    if tags is None:
        return MappingRow(case, name=volume.case, path=str(volume.path), status=status)
    return MappingRow(
        case,
        names.patient(tags.patient) if tags.patient else "",
        tags.patient,
        volume.case,
        tags.study,
        tags.series,
        tags.accession,
        str(volume.path),
        status,
    )
