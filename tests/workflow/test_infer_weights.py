"""What inference reads: the folders of the run that its weights lie in, or the files of an exported bundle."""

from types import SimpleNamespace

import numpy as np
import pytest

from monai_wsss.errors import InputError
from monai_wsss.workflow import InferStage
from monai_wsss.workflow.manifest import folder_hash


@pytest.fixture
def make_stage(write_cached, place, tmp_path):
    write_cached("a", test={"c": (np.zeros((1, 1, 8, 8)), [[1]])})
    evaluator = SimpleNamespace(add_event_handler=lambda *given: None)
    options = {key: value for key, value in place.items() if key != "preprocessing"}

    def make(*files, exist=True):
        for file in files:
            (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
            if exist:
                (tmp_path / file).write_text(file)
        return InferStage(evaluator, ["a"], [str(tmp_path / file) for file in files], **options)

    return make


@pytest.mark.parametrize(
    ("files", "reads"),
    [
        (("run/segmenter/model.pt", "run/classifier/model.pt"), {"segmenter", "classifier"}),
        (("run/segmenter/model.pt",), {"segmenter"}),
        (("run/deconv1/model.pt",), {"deconv1"}),
    ],
)
def test_folders_of_the_run(make_stage, tmp_path, files, reads):
    inputs = make_stage(*files)._inputs()
    assert set(inputs) == {"dataset", *reads}
    assert all(inputs[name] == folder_hash(tmp_path / "run" / name) for name in reads)


def test_a_folder_that_is_not_there_is_named(make_stage):
    with pytest.raises(InputError, match="run/other: not there; run the stage that writes other first"):
        stage = make_stage("run/other/model.pt", exist=False)
        (stage.run_folder / "other").rmdir()
        stage._inputs()


@pytest.mark.parametrize("count", [1, 2])
def test_files_of_an_exported_bundle(make_stage, tmp_path, count):
    files = ("models/model.pt", "models/classifier.pt")[:count]
    expected = dict(zip(("segmenter", "classifier"), (folder_hash(tmp_path / f) for f in files), strict=False))
    inputs = make_stage(*files)._inputs()
    assert set(inputs) == {"dataset", *expected}
    assert [inputs[name] for name in expected] == [folder_hash(tmp_path / file) for file in files]
