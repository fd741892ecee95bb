"""A run as a bundle of its own."""

import json
import shutil
from collections.abc import Mapping
from datetime import date
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser

from monai_wsss.data import atomic_path, write_json
from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_config import PLACE_IDS, load_config
from monai_wsss.workflow.bundle_freeze import freeze_bundle, write_value
from monai_wsss.workflow.localiser_weights import CLASSIFIER, FINAL, STAGES
from monai_wsss.workflow.manifest import Manifest, versions
from monai_wsss.workflow.pipeline import applying_stages

# Weights of an exported bundle stand in models/; the segmenter's name is the one that MONAI's tools look for.
# A bundle without a classifier besides has no id for its weights.
_WEIGHTS = {
    "segmenter_weights": ("segmenter/model.pt", "models/model.pt"),
    "classifier_weights": ("classifier/model.pt", "models/classifier.pt"),
}
_PLACES = {
    **{name: f"$@bundle_root + '/{target}'" for name, (_, target) in _WEIGHTS.items()},
    "distributed": False,  # inference is one process, however the training was
}


def export_bundle(run: Path, out: Path) -> Path:
    """Write a self-contained bundle: the run's configs as they were run, its weights, its model card.

    Only what describes the method and pooled results goes along: no case, no patient, no path.

    Raises:
        InputError: the run is not finished, its stages do not belong together, or `out` is a folder with other things
            in it.
    """
    manifest = Manifest(run)
    used = _weights(run)
    for weights in used:
        if not (run / weights).exists():
            raise InputError(f"{run / weights}: not there; finish the run first")
    _check_current(manifest, run)
    earlier = (out / "configs" / "metadata.json").exists() and all((out / name).exists() for name in used.values())
    if out.exists() and any(out.iterdir()) and not earlier:
        raise InputError(f"{out}: not empty and not an exported bundle; choose another folder")
    freeze_bundle(run / "bundle", out, _names_of_paths(run / "bundle"))
    config = out / "configs" / "inference.yaml"
    text = config.read_text(encoding="utf-8")
    for name, value in _PLACES.items():
        text = write_value(text, name, value)
    with atomic_path(config) as part:
        part.write_text(text, encoding="utf-8")
    (out / "models").mkdir(exist_ok=True)
    for source, target in used.items():
        shutil.copyfile(run / source, out / target)
    _update_metadata(out / "configs", manifest)
    card = out / "docs" / "README.md"
    with atomic_path(card) as part:
        part.write_text(card.read_text(encoding="utf-8") + model_card(manifest, run), encoding="utf-8")
    return out


def _weights(run: Path) -> dict[str, str]:
    """Weights that the run's inference takes, by their file in the run, and their file in a bundle."""
    known = load_config(_config(run, "inference"))
    return dict(places for name, places in _WEIGHTS.items() if name in known)


def _config(run: Path, name: str) -> Path:
    """A config of the run's own bundle.

    Raises:
        InputError: it is not there.
    """
    path = run / "bundle" / "configs" / f"{name}.yaml"
    if not path.exists():
        raise InputError(f"{path}: not there; run the pipeline into this folder first")
    return path


def _check_current(manifest: Manifest, run: Path) -> None:
    """Every stage ended well, on what the earlier ones hold now: else the configs are not those of the weights.

    Raises:
        InputError: naming the first stage that has to run again.
    """
    records = _records(manifest, run)
    if len(records) < len(manifest.content["stages"]):  # of other choices, which were the run's before
        for name in _stages(run):
            if name not in records:
                raise InputError(f"{run}: stage {name} has not run since a choice was changed; finish the run first")
    outputs = {record.get("writes"): record.get("output") for record in records.values()}
    for name, record in records.items():
        if record["status"] not in ("done", "skipped"):
            raise InputError(f"{run}: stage {name} did not end well ({record['status']}); finish the run first")
        for folder, digest in record["inputs"].items():
            if folder in outputs and outputs[folder] != digest:
                raise InputError(f"{run}: {folder}/ was made anew after stage {name} ran; finish the run first")


def _stages(run: Path) -> list[str]:
    """Names of the stages that the run's own bundle has with its choices."""
    config = load_config(_config(run, "pipeline"))
    return [stage["name"] for stage in applying_stages(config["stages"], config)]


def _records(manifest: Manifest, run: Path) -> dict[str, Any]:
    """Records of these stages; those that other choices left behind tell nothing of the weights."""
    return {name: record for name in _stages(run) if (record := manifest.stage(name))}


def _names_of_paths(bundle: Path) -> dict[str, str]:
    """Ids whose value is an absolute path, with the file's name alone: a path tells of this machine and its users."""
    found = {}
    for path in sorted((bundle / "configs").glob("*.yaml")):
        for name, value in load_config(path).items():
            if isinstance(value, str) and Path(value).is_absolute():
                found[name] = Path(value).name
    return found


def _update_metadata(configs: Path, manifest: Manifest) -> None:
    path = configs / "metadata.json"
    metadata = json.loads(path.read_text(encoding="utf-8"))
    parser = ConfigParser(load_config(configs / "inference.yaml"))
    labels = parser.get_parsed_content("labels")
    named = "out_channels" in parser  # a network with one kind of head says itself how many it has
    channels = parser.get_parsed_content("out_channels" if named else "network_def")
    channels = channels if named else channels.out_channels
    names = ["background", *labels][-channels:]  # a sigmoid head has no channel of background
    output = metadata["network_data_format"]["outputs"]["pred"]
    output.update(num_channels=channels, channel_def={str(index): name for index, name in enumerate(names)})
    metadata["pred_classes"] = ", ".join(f"{index} {name}" for index, name in enumerate(["background", *labels]))
    found = versions()
    metadata["monai_version"], metadata["pytorch_version"] = found["monai"], found["torch"].split("+")[0]
    metadata["numpy_version"] = found["numpy"]
    metadata["changelog"][metadata["version"]] += f" Weights trained {date.today().isoformat()}."
    write_json(path, metadata)


def model_card(manifest: Manifest, run: Path) -> str:
    """Section of the README that says how these weights were made and how they scored, from the manifest."""
    lines = ["", "## These weights", ""]
    overlays = ", ".join(manifest.content.get("overlays", [])) or "none"
    given = {k: v for k, v in manifest.content.get("overrides", {}).items() if k not in PLACE_IDS}
    given |= {k: v for k, v in _names_of_paths(run / "bundle").items() if k in given}
    settings = ", ".join(f"{k}={v}" for k, v in given.items()) or "none"
    lines += [f"- Overlays: {overlays}. Settings: {settings}.", ""]
    lines += ["| stage | device | threads | seconds | summary |", "|---|---|---|---|---|"]
    records = _records(manifest, run)
    for name, record in records.items():
        summary = ", ".join(f"{k} {_text(v)}" for k, v in record.get("summary", {}).items())
        lines.append(f"| {name} | {record['device']} | {record['threads']} | {record.get('seconds')} | {summary} |")
    scores = run / "evaluation" / "scores.json"
    if scores.exists():
        result = json.loads(scores.read_text(encoding="utf-8"))
        dice, positives = result["patients"]["dice"], result["positives"]["dice"]
        source = _supervision(records)
        lines += [
            "",
            f"Trained on {source}. Test split, mean [95 % interval]: "
            f"Dice per patient {_interval(dice)}, on positive slices {_interval(positives)}, "
            f"{result['counts']['patients']} patients.",
        ]
    return "\n".join([*lines, ""])


def _supervision(records: Mapping[str, Any]) -> str:
    """What the segmenter learnt from."""
    read = {name for record in records.values() if record.get("writes") == FINAL for name in record["inputs"]}
    if read and read <= {"dataset", "backbone", CLASSIFIER, *STAGES}:  # a localiser, which learns from no mask
        return "image-level labels"
    makers = [record for record in records.values() if record.get("writes") == "pseudo_masks"]
    weak = any(record["status"] == "done" for record in makers)  # else the masks came from elsewhere
    return "masks made from image-level labels" if weak else "masks given to the run, of unknown origin"


def _text(value: Any) -> str:
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _interval(score: dict[str, Any]) -> str:
    if score["ci95"] is None:  # fewer than two patients
        return "not defined" if score["mean"] is None else _text(score["mean"])
    low, high = score["ci95"]
    return f"{_text(score['mean'])} [{_text(low)}, {_text(high)}]"
