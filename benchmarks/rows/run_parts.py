"""Parts of a finished run, built from the run's own copy of the bundle."""

from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser

from monai_wsss.engines import load_weights
from monai_wsss.transforms import GridPreprocessing
from monai_wsss.workflow.bundle_config import known_defaults, load_config


def config_of(run: Path, config: str) -> dict[str, Any]:
    """A stage's config as the run used it, for example "seed.yaml"."""
    return load_config(run / "bundle" / "configs" / config)


def choice_of(run: Path, name: str) -> str:
    """What the run chose, by id: `refine` or `supervision`."""
    return known_defaults(run / "bundle" / "configs")[name]


def part_of(run: Path, config: str, name: str, **settings: Any) -> Any:
    """The object that an id of a config makes; `settings` are ids set for this once."""
    parser = ConfigParser(config_of(run, config) | settings)
    return parser.get_parsed_content(name)


def preprocessing_of(run: Path) -> GridPreprocessing:
    """The preprocessing that a run used."""
    return part_of(run, "classify.yaml", "preprocessing")


def stage_of(run: Path, data: Path, config: str, device: str = "auto") -> Any:
    """A stage of the run, not run."""
    place = {"dataset_dir": str(data), "output_dir": str(run), "device": device, "tracking_uri": "none"}
    return part_of(run, config, "stage", **place)


def classifier_of(run: Path, config: str, random_seed: int | None = None) -> torch.nn.Module:
    """The run's classifier as a config builds it, in evaluation mode; with a seed the one that nobody trained."""
    if random_seed is not None:
        torch.manual_seed(random_seed)
        return part_of(run, config, "classifier_def").eval()
    return load_weights(part_of(run, config, "classifier_def"), run / "classifier" / "model.pt").eval()
