import shutil
from dataclasses import replace

import numpy as np
import pytest

from benchmarks.accuracy import _supervise, _write_rows, accuracy
from monai_wsss.data import PreparedDataset
from monai_wsss.data.dataset_file import SPLITS
from monai_wsss.errors import InputError


def test_rows_follow_the_method_when_it_was_run_anew(whole, tmp_path, files_of):
    """Else a second call with another setting would print the first one's class maps beside the second's segmenter."""
    dataset, preprocess = PreparedDataset.read(whole.data), preprocessing_of(whole.run)
    method = shutil.copytree(whole.run, tmp_path / "method")
    folders = _write_rows(dataset, preprocess, method, tmp_path / "rows")
    before = {name: files_of(folder) for name, folder in folders.items()}
    for case in dataset.cases("test"):
        path = method / "pseudo_masks" / "refined" / f"{case.case}.npy"
        np.save(path, 1 - np.load(path))
    _write_rows(dataset, preprocess, method, tmp_path / "rows")
    changed = {name for name, folder in folders.items() if files_of(folder) != before[name]}
    assert changed == {"class maps, thresholded"}


def test_the_ceiling_sees_no_true_mask_of_the_test_split(whole, tmp_path):
    dataset = PreparedDataset.read(whole.data)
    _supervise(dataset, whole.run, tmp_path)
    written = {path.stem for path in (tmp_path / "pseudo_masks" / "crf").iterdir()}
    assert written == {case.case for case in dataset.training + dataset.validation}


def test_several_classes_are_refused_before_anything_runs(whole, tmp_path):
    """The rows' masks are of one class; they would score as class 1 without a word."""
    dataset = PreparedDataset.read(whole.data)
    cases = {split: tuple(_two_classes(case) for case in dataset.cases(split)) for split in SPLITS}
    PreparedDataset(labels=("a", "b"), **cases).write(tmp_path / "data")
    with pytest.raises(InputError, match="2 classes"):
        accuracy(tmp_path / "data", whole.bundle, tmp_path / "work")
    assert not (tmp_path / "work").exists()


def _two_classes(case):
    rows = None if case.slice_classes is None else tuple((*row, 0) for row in case.slice_classes)
    return replace(case, classes=(*case.classes, 0), slice_classes=rows, truth=case.image)
