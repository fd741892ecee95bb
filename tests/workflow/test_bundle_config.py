"""Which ids a bundle knows, and the hint for a misspelt one."""

import pytest

from monai_wsss.errors import InputError
from monai_wsss.workflow import bundle_root, select_device, start
from monai_wsss.workflow.bundle_config import check_ids, effective_config, known_ids, load_config


@pytest.fixture
def configs(tmp_path):
    folder = tmp_path / "my_bundle" / "configs"
    folder.mkdir(parents=True)
    (folder / "classify.yaml").write_text("classify_epochs: 3\nseed: 0\nrun:\n- $1\n")
    (folder / "train.yaml").write_text("train_epochs: 3\nseed: 0\nrun:\n- $1\n")
    (folder / "small.yaml").write_text("only_in_overlay: 1\n")
    return folder


def test_known_ids_are_those_of_stage_configs(configs):
    assert known_ids(configs) == {"classify_epochs", "train_epochs", "seed", "run"}


def test_a_config_is_read_as_it_stands_now(configs):
    path = configs / "train.yaml"
    load_config(path)["seed"] = 7  # changes no later answer
    assert load_config(path) == {"train_epochs": 3, "seed": 0, "run": ["$1"]}
    path.write_text(path.read_text().replace("3", "4"))
    assert load_config(path)["train_epochs"] == 4
    path.write_text("")
    assert load_config(path) == {}
    path.write_text("a: [1")
    with pytest.raises(InputError, match=r"train\.yaml: not readable as YAML: .*line 1"):
        load_config(path)


def test_known_ids_pass(configs):
    check_ids({"train_epochs", "seed", "_meta_"}, configs, "--set")
    check_ids(set(), configs, "--set")


@pytest.mark.parametrize(
    ("ids", "words"),
    [
        ({"train_epoch"}, ["--set", "'train_epoch' (did you mean 'train_epochs'?)", "my_bundle"]),
        ({"zzz"}, ["unknown id 'zzz';"]),
        ({"seeed", "clasify_epochs", "seed"}, ["'clasify_epochs' (did you mean 'classify_epochs'?), 'seeed' (did"]),
        ({"only_in_overlay"}, ["'only_in_overlay'"]),
    ],
)
def test_unknown_ids_are_named_with_the_nearest(configs, ids, words):
    with pytest.raises(InputError) as raised:
        check_ids(ids, configs, "--set")
    assert all(word in str(raised.value) for word in words) and "\n" not in str(raised.value)


def test_outside_a_workflow_there_is_no_config():
    assert effective_config() is None and bundle_root() == "."


def test_start_refuses_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="no such data folder; make one with"):
        start(str(tmp_path / "none"))


@pytest.mark.parametrize("name", ["gpuu", "cuda:x", "cpu:"])
def test_a_device_that_is_none_is_refused(name):
    with pytest.raises(InputError, match=f"device '{name}'"):
        select_device(name)


def test_devices(monkeypatch):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert select_device().type == select_device("cpu").type == "cpu"
    with pytest.raises(InputError, match="no CUDA device is available here"):
        select_device("cuda:0")
    monkeypatch.setattr("torch.cuda.is_available", lambda: True)
    monkeypatch.setattr("torch.cuda.device_count", lambda: 2)
    assert select_device("cuda:1").index == 1
    with pytest.raises(InputError, match="device 'cuda:2': only 2 here, counted from cuda:0"):
        select_device("cuda:2")
