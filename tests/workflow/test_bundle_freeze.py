"""A bundle with values written into its configs."""

import pytest
import yaml

from monai_wsss.errors import InputError
from monai_wsss.workflow.bundle_freeze import freeze_bundle, overlay_values, write_value

CONFIG = """\
# train: a comment
epochs: 100                # IV-C
scales: [0.5, 1.0]         # sampling rates
weights: null
name: 'mixed'   # quoted
train_epochs: 7
nested:
  epochs: 5                # stays
open: [1,
  2]
text: |
  several lines
last: 1"""


@pytest.mark.parametrize(
    ("name", "value", "line"),
    [
        ("epochs", 3, "epochs: 3                # IV-C"),
        ("scales", [1.0, 2.0], "scales: [1.0, 2.0]         # sampling rates"),
        ("weights", "a b.pt", "weights: a b.pt"),
        ("name", None, "name: null   # quoted"),
        ("epochs", {"a": 1}, "epochs: {a: 1}                # IV-C"),
        ("weights", "#1", "weights: '#1'"),
        ("weights", "$@x + '/m.pt'", "weights: $@x + '/m.pt'"),
        ("last", "true", "last: 'true'"),
        ("weights", "é" * 300, "weights: " + "é" * 300),
    ],
)
def test_one_line_changes_and_keeps_its_comment(name, value, line):
    old, new = CONFIG.split("\n"), write_value(CONFIG, name, value).split("\n")
    changed = [(a, b) for a, b in zip(old, new, strict=True) if a != b]
    assert len(changed) == 1 and changed[0][1] == line
    assert yaml.safe_load("\n".join(new)) == yaml.safe_load(CONFIG) | {name: value}


@pytest.mark.parametrize("value", [1e-05, 0.001, -2, True, "1e-3", "on", "a: b", [], ["x"], ""])
def test_any_plain_value_reads_back_as_it_was(value):
    read = yaml.safe_load(write_value(CONFIG, "weights", value))["weights"]
    assert read == value and type(read) is type(value)


@pytest.mark.parametrize("name", ["nested", "open", "text"])
def test_ids_over_several_lines_are_refused(name):
    with pytest.raises(InputError, match=f"{name}.*not a value on one line"):
        write_value(CONFIG, name, 1)


def test_an_id_that_is_not_there_changes_nothing():
    assert write_value(CONFIG, "epoch", 3) == CONFIG


@pytest.fixture
def bundle(tmp_path):
    files = {
        "configs/metadata.json": "{}",
        "configs/classify.yaml": "epochs: 1  # E\nrun:\n- $1\n",
        "configs/train.yaml": "epochs: 1\nrate: 0.1\nrun:\n- $1\n",
        "configs/small.yaml": "epochs: 2\nrate: 0.2\n",
        "configs/tiny.yaml": "epochs: 3\n",
        "configs/wrong.yaml": "epoch: 3\n",
        "configs/broken.txt": "",
        "docs/README.md": "read me",
        "LICENSE": "free",
        "models/model.pt": "weights",
        "data/patient.nii.gz": "a patient",
        "configs/__pycache__/x.pyc": "",
    }
    for name, text in files.items():
        path = tmp_path / "b" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "b"


@pytest.mark.parametrize(
    ("overlays", "values"),
    [
        ([], {}),
        (["small"], {"epochs": 2, "rate": 0.2}),
        (["small.yaml", "tiny"], {"epochs": 3, "rate": 0.2}),
        (["tiny", "small"], {"epochs": 2, "rate": 0.2}),
    ],
)
def test_later_overlays_win(bundle, overlays, values):
    assert overlay_values(bundle, overlays) == values


@pytest.mark.parametrize("name", ["big", "train", "../configs/nothing"])
def test_unknown_overlays_are_refused(bundle, name):
    with pytest.raises(InputError, match=r"no overlay '.*'; it has small, tiny, wrong"):
        overlay_values(bundle, [name])


def test_a_misspelt_id_in_an_overlay_is_refused(bundle):
    with pytest.raises(InputError, match=r"wrong\.yaml: unknown id 'epoch' \(did you mean 'epochs'\?\)"):
        overlay_values(bundle, ["wrong"])


def test_a_frozen_bundle_holds_the_values_and_no_overlay_weights_or_data(bundle, files_of, tmp_path):
    before = files_of(bundle)
    assert freeze_bundle(bundle, tmp_path / "f", {"epochs": 5, "rate": 0.5}) == tmp_path / "f"
    files = files_of(tmp_path / "f")
    expected = {"LICENSE", "docs/README.md", "configs/classify.yaml", "configs/train.yaml", "configs/metadata.json"}
    assert set(files) - {"configs/broken.txt"} == expected
    assert files["configs/classify.yaml"] == b"epochs: 5  # E\nrun:\n- $1\n"
    assert files["configs/train.yaml"] == b"epochs: 5\nrate: 0.5\nrun:\n- $1\n"
    assert files_of(bundle) == before


def test_freezing_replaces_what_was_there_even_the_bundle_itself(bundle, tmp_path):
    target = tmp_path / "f"
    freeze_bundle(bundle, target, {})
    (target / "configs" / "old.yaml").write_text("run: [1]\n")
    freeze_bundle(bundle, target, {"epochs": 4})
    assert not (target / "configs" / "old.yaml").exists()
    freeze_bundle(target, target, {"rate": 0.9})
    assert yaml.safe_load((target / "configs" / "train.yaml").read_text())["rate"] == 0.9
    assert yaml.safe_load((target / "configs" / "train.yaml").read_text())["epochs"] == 4
    assert sorted(path.name for path in tmp_path.iterdir()) == ["b", "f"]


def test_bad_values_leave_the_target_as_it_was(bundle, tmp_path, files_of):
    freeze_bundle(bundle, tmp_path / "f", {})
    before = files_of(tmp_path / "f")
    for values in ({"epoch": 1}, {"run": 1}):
        with pytest.raises(InputError):
            freeze_bundle(bundle, tmp_path / "f", values)
    assert files_of(tmp_path / "f") == before
    with pytest.raises(InputError, match="not a bundle"):
        freeze_bundle(tmp_path, tmp_path / "g", {})
