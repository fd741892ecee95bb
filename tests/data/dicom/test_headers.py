import logging
import warnings
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path

import pydicom
import pytest
from dicom_files import write_dicom

from monai_wsss.data.dicom import headers
from monai_wsss.data.dicom.headers import NO_DICOM, FileHeader, read_headers
from monai_wsss.data.dicom.quiet import quiet_pydicom
from monai_wsss.data.skipped import Skipped


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """One file under 150 names, and two that are no DICOM."""
    folder = tmp_path_factory.mktemp("many")
    first = write_dicom(folder / "000")
    for k in range(1, 150):
        (folder / f"{k:03d}").write_bytes(first.read_bytes())
    (folder / "050").write_bytes(b"broken")
    (folder / "149").write_bytes(b"")
    return sorted(folder.iterdir())


class BrokenPool:
    """Works once, then its worker dies, then it takes no more."""

    def __init__(self, *_, **__):
        self.calls = 0

    def submit(self, function, chunk):
        self.calls += 1
        if self.calls > 2:
            raise BrokenProcessPool("dead")
        future = Future()
        if self.calls == 1:
            future.set_result(function(chunk))
        else:
            future.set_exception(BrokenProcessPool("died"))
        return future

    def shutdown(self, **_):
        pass


def test_order_and_kinds(many):
    found = list(read_headers(many))
    assert [str(many[k]) for k in (50, 149)] == [item.file for item in found if isinstance(item, Skipped)]
    assert {item.reason for item in found if isinstance(item, Skipped)} == {NO_DICOM}
    assert [item.path for item in found if isinstance(item, FileHeader)] == [
        f for k, f in enumerate(many) if k not in (50, 149)
    ]


def test_worker_processes_give_the_same(many):
    assert list(read_headers(iter(many), workers=2)) == list(read_headers(many, workers=1))


def test_dead_workers_lose_no_file(many, monkeypatch):
    monkeypatch.setattr(headers, "ProcessPoolExecutor", BrokenPool)
    assert list(read_headers(many, workers=2)) == list(read_headers(many, workers=1))


class StuckPool:
    """Takes tasks and never finishes one."""

    def __init__(self, *_, **__):
        self.submit = lambda function, chunk: Future()
        self.shutdown = lambda **_: None


def test_nothing_waits_for_a_worker_that_hangs(many, monkeypatch):
    monkeypatch.setattr(headers, "ProcessPoolExecutor", StuckPool)
    monkeypatch.setattr(headers, "_CHUNK", 2)
    assert list(read_headers(many, workers=2)) == list(read_headers(many, workers=1))


@pytest.mark.parametrize(("workers", "limit"), [(1, 2), (2, 2 * 16 * 2)])
def test_memory_is_bounded(many, monkeypatch, workers, limit):
    """No more files are taken from the list than fit into the tasks in flight, 2 files a task."""
    monkeypatch.setattr(headers, "ProcessPoolExecutor", StuckPool)
    monkeypatch.setattr(headers, "_CHUNK", 2)
    taken = []
    next(read_headers((taken.append(file) or file for file in many), workers=workers))
    assert len(taken) == limit


def test_workers_help_once_it_takes_long(many, monkeypatch):
    monkeypatch.setattr(headers, "_CHUNK", 2)
    started = []
    monkeypatch.setattr(headers, "ProcessPoolExecutor", lambda *_, **__: started.append(1) or StuckPool())
    alone = list(read_headers(many))
    assert started == []
    monkeypatch.setattr(headers, "_PATIENCE", 0.0)
    assert list(read_headers(many)) == alone and started == [1]


def test_files_of_a_series_share_their_tags(many):
    found = [item for item in read_headers(many) if isinstance(item, FileHeader)]
    assert len({id(item.tags) for item in found}) == 1


def test_progress_counts_files(many):
    done = []
    list(read_headers(many, progress=done.append))
    assert done == [64, 128, 150]


def test_a_missing_file_is_skipped(tmp_path):
    assert list(read_headers([tmp_path / "none"])) == [
        Skipped(str(tmp_path / "none"), "cannot be opened (No such file or directory)")
    ]


def test_pydicom_says_nothing_and_is_left_as_it_was(tmp_path, caplog):
    path = write_dicom(tmp_path / "a")
    path.write_bytes(path.read_bytes().replace(b"1.2.3.4.5", b"1.2.x y.5"))  # an invalid UID, which pydicom would quote
    mode, level = pydicom.config.settings.reading_validation_mode, logging.getLogger("pydicom").level
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        (found,) = read_headers([path])
    assert found.tags.series == "1.2.x y.5"
    assert not [w for w in caught if "1.2.x" in str(w.message)] and "1.2.x" not in caplog.text
    assert (pydicom.config.settings.reading_validation_mode, logging.getLogger("pydicom").level) == (mode, level)


def test_pydicom_is_left_as_it_was_after_an_error():
    mode = pydicom.config.settings.reading_validation_mode
    with pytest.raises(KeyError), quiet_pydicom():
        raise KeyError
    assert pydicom.config.settings.reading_validation_mode == mode


def test_real_files():
    folder = Path(__file__).parents[3] / "../shared/data/dicom_samples"
    if not folder.is_dir():
        pytest.skip("shared/data/dicom_samples is not there")
    files = sorted(folder.iterdir())
    found = {file.name: item for file, item in zip(files, read_headers(files), strict=True)}
    reasons = {name: item.reason for name, item in found.items() if isinstance(item, Skipped)}
    masks = [name for name in found if "seg_image" in name or name == "liver.dcm"]
    assert reasons == {"LICENSE-pydicom-data": NO_DICOM, **dict.fromkeys(masks, "a segmentation, no image")}
    problems = [name for name, item in found.items() if isinstance(item, FileHeader) and item.problem]
    assert problems == ["emri_small.dcm", "emri_small_jpeg_2k_lossless_too_short.dcm"]
    heights = [frame.position[2] for frame in found["eCT_Supplemental.dcm"].frames]
    assert heights == [-159.0, -149.0]
    assert found["JPEG-LL.dcm"].tags.transfer_syntax == "JPEG Lossless SV1"
