"""Values and components that are checked before anything runs."""

import pytest

from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_check import check_components, check_values, value_error

STAGE = """\
epochs: 50
workers: 0
head_convs: 3
rate: 1.0e-3
weight: null
flips: false
name: unet
size: [256, 256]
scales: [0.5, 1.0]
derived: $len(@size)
network_def: {_target_: monai_wsss.networks.segmenter, name: '@name', spatial_dims: 2, in_channels: 1, out_channels: 2}
run: [$print(1)]
"""


@pytest.fixture
def configs(tmp_path):
    (tmp_path / "stage.yaml").write_text(STAGE)
    (tmp_path / "overlay.yaml").write_text("epochs: many")  # no stage: neither a default nor checked as one
    return tmp_path


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("epochs", 3, 3),
        ("epochs", 1e2, 100),  # given as 1e2: a whole number all the same
        ("workers", 0, 0),
        ("head_convs", 0, 0),  # a part that can be left out
        ("rate", 1, 1),
        ("rate", [0.1, 0.2], [0.1, 0.2]),  # one a class
        ("rate", None, None),  # switched off
        ("weight", "anything", "anything"),  # nothing is known of it
        ("flips", True, True),
        ("name", "x", "x"),
        ("size", [64.0, 64], [64, 64]),
        ("scales", [1], [1]),
        ("derived", 1, 1),
        ("epochs", "$2 * 3", "$2 * 3"),  # an expression of MONAI's
        ("epochs", "@workers", "@workers"),
        ("unknown", object, object),  # check_ids refuses it
    ],
)
def test_values_that_fit(configs, name, value, kept):
    found = check_values({name: value}, configs, "")[name]
    assert found == kept
    assert type(found) is type(kept)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("epochs", "many", "give a whole number, such as 50"),
        ("epochs", 1.5, "give a whole number, such as 50"),
        ("epochs", None, "give a whole number"),
        ("epochs", [1], "give a whole number"),
        ("epochs", float("inf"), "give a whole number"),
        ("epochs", 0, "too small; the default is 50"),
        ("head_convs", False, "give a whole number, such as 3"),
        ("workers", -1, "too small; the default is 0"),
        ("rate", -1e-3, "too small"),
        ("rate", "fast", "give a number, such as 0.001"),
        ("rate", [0.1, "fast"], "give a number"),
        ("flips", 1, "give true or false"),
        ("name", 1, "give text, such as unet"),
        ("size", 64, "give a list, such as"),
        ("size", [], "give a list, such as"),
        ("size", [64, "wide"], "give a whole number, such as 256"),
        ("scales", [0.5, -1], "too small"),
    ],
)
def test_values_that_do_not(configs, name, value, words):
    with pytest.raises(InputError) as error:
        check_values({name: value}, configs, "--set ")
    assert str(error.value).startswith(f"--set {name}={value}: ")
    assert words in str(error.value)


def test_components_are_built_with_the_values_that_stand_there(configs):
    check_components(configs)
    (configs / "stage.yaml").write_text(STAGE.replace("name: unet", "name: vnet"))
    with pytest.raises(InputError, match=r"^stage\.yaml: network_def: segmenter must be .* got vnet\.$"):
        check_components(configs)


def test_a_fault_of_the_program_stays_one(configs):
    (configs / "stage.yaml").write_text(STAGE.replace("in_channels: 1", "no_such_argument: 1"))
    with pytest.raises(RuntimeError, match="Failed to instantiate"):
        check_components(configs)


def test_the_value_error_is_found_in_a_chain():
    try:
        try:
            raise ValueError("two\nlines")
        except ValueError as inner:
            raise RuntimeError("outer") from inner
    except RuntimeError as outer:
        assert value_error(outer) == "two lines"
    assert value_error(RuntimeError("alone")) is None
