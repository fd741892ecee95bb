import shutil

import numpy as np

from benchmarks.accuracy import _supervise, _write_rows, preprocessing_of
from monai_wsss.data import PreparedDataset


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
