"""Every bundle's metadata against MONAI's schema, without a network."""

import copy
import json
import socket
from pathlib import Path

import pytest
from monai.bundle import verify_metadata

SCHEMA = Path(__file__).with_name("meta_schema_20240725.json")
BUNDLES = Path(__file__).parents[2] / "bundles"
METADATA = sorted(BUNDLES.glob("*/configs/metadata.json"))
EXAMPLE = BUNDLES / "brain_mri_lesion_mixed_unet" / "configs" / "metadata.json"

# Older jsonschema reports the failed choice as a whole, newer the reason inside it.
ANY = "is not valid under any of the given schemas"

bundles = pytest.mark.parametrize("path", METADATA, ids=lambda path: path.parents[1].name)


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    """Any attempt to download the schema fails."""

    def refuse(*args, **kwargs):
        raise AssertionError("the check went to the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def edited(keys: str, value: object = None) -> dict:
    """The example's metadata with the value at `a#b#c` replaced, or removed if the value is None."""
    metadata = copy.deepcopy(json.loads(EXAMPLE.read_text()))
    *parents, last = keys.split("#")
    node = metadata
    for key in parents:
        node = node[key]
    if value is None:
        del node[last]
    else:
        node[last] = value
    return metadata


@bundles
def test_metadata_passes(path):
    verify_metadata(meta_file=str(path), filepath=str(SCHEMA))


@bundles
def test_metadata_agrees_with_itself(path):
    metadata = json.loads(path.read_text())
    assert metadata["schema"].endswith("/" + SCHEMA.name)
    assert metadata["version"] in metadata["changelog"]
    data_format = metadata["network_data_format"]
    for tensor in (*data_format["inputs"].values(), *data_format["outputs"].values()):
        assert sorted(map(int, tensor["channel_def"])) == list(range(tensor["num_channels"]))


@pytest.mark.parametrize(
    ("keys", "value", "named"),
    [
        ("version", None, "'version' is a required property"),
        ("network_data_format", None, "'network_data_format' is a required property"),
        ("network_data_format#outputs", None, "'outputs' is a required property"),
        ("authors", ["a", "b"], "is not of type 'string'"),
        ("required_packages_version", "nibabel", "is not of type 'object'"),
        ("supported_apps", ["monai-label"], "is not of type 'object'"),
        ("references", "Liu et al.", "is not of type 'array'"),
        ("network_data_format#inputs#image#num_channels", "1", "'1' is not of type 'integer'|" + ANY),
        ("network_data_format#inputs#image#dtype", None, "'dtype' is a required property|" + ANY),
        ("network_data_format#outputs#pred#value_range", ["low"], "'low' is not of type 'number'|" + ANY),
    ],
)
def test_broken_metadata_is_refused(tmp_path, keys, value, named):
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(edited(keys, value)))
    with pytest.raises(ValueError, match=named):
        verify_metadata(meta_file=str(path), filepath=str(SCHEMA))
