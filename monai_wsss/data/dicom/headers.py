"""Read the headers of many DICOM files, in parallel and in bounded memory."""

from __future__ import annotations

import multiprocessing
import multiprocessing.context
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import chain, islice
from pathlib import Path

from monai_wsss.data.dicom.file_header import FileHeader, FrameHeader
from monai_wsss.data.dicom.parse_header import NO_DICOM, UNREADABLE, parse_header
from monai_wsss.data.dicom.quiet import quiet_pydicom
from monai_wsss.data.skipped import Skipped
from monai_wsss.data.volume import SeriesTags

__all__ = ["NO_DICOM", "UNREADABLE", "FileHeader", "FrameHeader", "read_headers"]

Found = FileHeader | Skipped
_CHUNK = 64  # files a task
_IN_FLIGHT = 4  # tasks a worker, waiting or done: bounds the memory
_FEW = 4000  # so many files are read sooner than worker processes start
_MAX_WORKERS = 8


def read_headers(
    files: Iterable[Path], workers: int | None = None, progress: Callable[[int], None] | None = None
) -> Iterator[Found]:
    """Yield the header of each file in the order given; a file that is no DICOM image gives `Skipped`.

    Where worker processes cannot start, or die, the rest is read in this one.

    Args:
        files: of any kind.
        workers: processes; 1 reads in this one, None takes one a core, and this one for few files.
        progress: called now and then with the number of files done.
    """
    files = iter(files)
    if workers is None:
        first = list(islice(files, _FEW))
        workers = 1 if len(first) < _FEW else min(_cores(), _MAX_WORKERS)
        files = chain(first, files)
    chunks = iter(lambda: list(islice(files, _CHUNK)), [])
    shared: dict[SeriesTags, SeriesTags] = {}
    done = 0
    for found in _in_parallel(chunks, workers) if workers > 1 else map(_read_chunk, chunks):
        done += len(found)
        for header in found:
            yield _with_shared_tags(header, shared)
        if progress is not None:
            progress(done)


def _read_chunk(files: list[Path]) -> list[Found]:
    with quiet_pydicom():
        return [parse_header(file) for file in files]


def _in_parallel(chunks: Iterator[list[Path]], workers: int) -> Iterator[list[Found]]:
    waiting: deque[tuple[list[Path], Future[list[Found]] | None]] = deque()
    pool = ProcessPoolExecutor(workers, mp_context=_context())
    try:
        for chunk in chunks:
            waiting.append((chunk, _submit(pool, chunk)))
            if len(waiting) >= workers * _IN_FLIGHT:
                yield _result(*waiting.popleft())
        while waiting:
            yield _result(*waiting.popleft())
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(pool: ProcessPoolExecutor, chunk: list[Path]) -> Future[list[Found]] | None:
    try:
        return pool.submit(_read_chunk, chunk)
    except (BrokenProcessPool, OSError, AssertionError):  # AssertionError: a daemon, such as a loader, has no children
        return None


def _result(chunk: list[Path], future: Future[list[Found]] | None) -> list[Found]:
    if future is not None:
        try:
            return future.result()
        except (BrokenProcessPool, OSError):
            pass
    return _read_chunk(chunk)


def _context() -> multiprocessing.context.BaseContext:
    """Return clean processes: a fork of one that has threads, such as a progress bar's, may hang."""
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    return context


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _with_shared_tags(header: Found, shared: dict[SeriesTags, SeriesTags]) -> Found:
    """Let all files of a series hold one object."""
    if isinstance(header, Skipped):
        return header
    return replace(header, tags=shared.setdefault(header.tags, header.tags))
