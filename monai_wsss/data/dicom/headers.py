"""Read the headers of many DICOM files, several at a time and in bounded memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice
from pathlib import Path

from monai_wsss.data.dicom.file_header import FileHeader, FrameHeader
from monai_wsss.data.dicom.parse_header import NO_DICOM, UNREADABLE, FileStart, parse_header, read_start
from monai_wsss.data.dicom.quiet import quiet_pydicom
from monai_wsss.data.skipped import Skipped
from monai_wsss.data.volume import SeriesTags

__all__ = ["NO_DICOM", "UNREADABLE", "FileHeader", "FrameHeader", "read_headers"]

_WORKERS = 8  # more than cores, since files on a network drive are waited for
_IN_FLIGHT = 8  # files a worker: bounds the memory, at 128 kB a file
_CHUNK = 64  # files between two reports of progress

_Started = tuple[Path, FileStart | Skipped]


def read_headers(
    files: Iterable[Path], workers: int | None = None, progress: Callable[[int], None] | None = None
) -> Iterator[FileHeader | Skipped]:
    """Yield the header of each file in the order given; a file that is no DICOM image gives `Skipped`.

    Threads read the files, which takes the time on hospital drives; parsing, under a millisecond a file, is done here.

    Args:
        files: of any kind.
        workers: threads; 1 for none, None for the usual number.
        progress: called now and then with the number of files done.
    """
    started = _read_ahead(iter(files), _WORKERS if workers is None else workers)
    shared: dict[SeriesTags, SeriesTags] = {}
    done = 0
    while chunk := list(islice(started, _CHUNK)):
        with quiet_pydicom():
            found = [parse_header(file, start) for file, start in chunk]
        done += len(found)
        for header in found:
            yield _with_shared_tags(header, shared)
        if progress is not None:
            progress(done)


def _read_ahead(files: Iterator[Path], workers: int) -> Iterator[_Started]:
    if workers <= 1:
        yield from ((file, read_start(file)) for file in files)
        return
    waiting: deque[tuple[Path, Future[FileStart | Skipped]]] = deque()
    with ThreadPoolExecutor(workers) as pool:
        for file in files:
            waiting.append((file, _submit(pool, file)))
            if len(waiting) >= workers * _IN_FLIGHT:
                yield _result(waiting.popleft())
        while waiting:
            yield _result(waiting.popleft())


def _submit(pool: ThreadPoolExecutor, file: Path) -> Future[FileStart | Skipped]:
    try:
        return pool.submit(read_start, file)
    except RuntimeError:  # no more threads to be had
        future: Future[FileStart | Skipped] = Future()
        future.set_result(read_start(file))
        return future


def _result(entry: tuple[Path, Future[FileStart | Skipped]]) -> _Started:
    return entry[0], entry[1].result()


def _with_shared_tags(header: FileHeader | Skipped, shared: dict[SeriesTags, SeriesTags]) -> FileHeader | Skipped:
    """Let all files of a series hold one object."""
    if isinstance(header, Skipped):
        return header
    return replace(header, tags=shared.setdefault(header.tags, header.tags))
