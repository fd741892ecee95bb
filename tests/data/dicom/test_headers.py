import logging
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pydicom
import pytest
from dicom_files import write_dicom

from monai_wsss.data.dicom import headers
from monai_wsss.data.dicom.headers import NO_DICOM, FileHeader, read_headers
from monai_wsss.data.dicom.parse_header import read_start
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


def test_order_and_kinds(many):
    found = list(read_headers(many))
    assert [str(many[k]) for k in (50, 149)] == [item.file for item in found if isinstance(item, Skipped)]
    assert {item.reason for item in found if isinstance(item, Skipped)} == {NO_DICOM}
    assert [item.path for item in found if isinstance(item, FileHeader)] == [
        f for k, f in enumerate(many) if k not in (50, 149)
    ]


def test_threads_change_nothing(many):
    assert list(read_headers(iter(many), workers=3)) == list(read_headers(many, workers=1))


def test_without_threads_to_be_had_the_rest_is_read_all_the_same(many, monkeypatch):
    def submit(pool, *_):
        pool.calls = getattr(pool, "calls", 0) + 1
        if pool.calls > 10:
            raise RuntimeError("can't start new thread")
        return original(pool, *_)

    original = ThreadPoolExecutor.submit
    monkeypatch.setattr(ThreadPoolExecutor, "submit", submit)
    assert list(read_headers(many)) == list(read_headers(many, workers=1))


def test_slow_drives_are_waited_for_once(many, monkeypatch):
    """40 files that take 50 ms each: 2 s one by one, 0.25 s by eight threads."""

    def slow(file):
        time.sleep(0.05)
        return read_start(file)

    monkeypatch.setattr(headers, "read_start", slow)
    start = time.monotonic()
    assert len(list(read_headers(many[:40]))) == 40
    assert time.monotonic() - start < 1.5


@pytest.mark.parametrize(("workers", "limit"), [(1, 64), (2, 64 + 2 * 8 - 1)])
def test_memory_is_bounded(many, workers, limit):
    """No more files are taken from the list than a chunk, and eight a thread that are read ahead."""
    taken = []
    next(read_headers((taken.append(file) or file for file in many), workers=workers))
    assert len(taken) == limit


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
