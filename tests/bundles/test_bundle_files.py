"""What the model zoo asks of a bundle's files beside its configs."""

import configparser
import logging
import logging.handlers
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BUNDLES = sorted(path.parents[1] for path in ROOT.glob("bundles/*/configs/metadata.json"))
HEADINGS = [
    "# Model Overview",
    "## Data",
    "## Training configuration",
    "### Input",
    "### Output",
    "## Performance",
    "## MONAI Bundle Commands",
    "## Limitations",
    "# References",
    "# License",
]

pytestmark = pytest.mark.parametrize("bundle", BUNDLES, ids=lambda path: path.name)


def test_licence_is_the_projects(bundle):
    assert (bundle / "LICENSE").read_bytes() == (ROOT / "LICENSE").read_bytes()


def test_logging_uses_only_handlers_of_the_standard_library(bundle):
    config = configparser.RawConfigParser()
    assert config.read(bundle / "configs" / "logging.conf")
    names = [config[section]["class"] for section in config.sections() if section.startswith("handler_")]
    assert names
    for name in names:
        module, _, handler = name.rpartition(".")
        assert module in ("", "handlers")
        assert issubclass(getattr(logging.handlers if module else logging, handler), logging.Handler)


def test_readme_has_the_zoos_headings_in_order(bundle):
    lines = (bundle / "docs" / "README.md").read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if line in HEADINGS] == HEADINGS


def test_readme_tables_stand_between_their_markers(bundle):
    text = (bundle / "docs" / "README.md").read_text(encoding="utf-8")
    markers = re.findall(r"<!-- (table:\w+|/table) -->", text)
    assert len(markers) >= 2
    assert [marker == "/table" for marker in markers] == [False, True] * (len(markers) // 2)
