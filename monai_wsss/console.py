"""What the command line says on standard error: progress, log and errors."""

import errno
import logging
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

console = Console(stderr=True, soft_wrap=True)


class _ConsoleLog(logging.Handler):
    """One line a record, above a progress bar, never wrapped."""

    def emit(self, record: logging.LogRecord) -> None:
        style = "yellow" if record.levelno >= logging.WARNING else None
        console.print(self.format(record), style=style, markup=False, highlight=False)


@contextmanager
def bar(title: str) -> Iterator[Callable[..., None]]:
    """A progress bar on standard error, a line now and then in a log; yields a function of (done, total, what)."""
    if not console.is_terminal:
        from monai_wsss.engines import Heartbeat

        beats: dict[str, Heartbeat] = {}

        def beat(done: int, total: int | None = None, what: str = title) -> None:
            beats.setdefault(what, Heartbeat(what, 0)).beat(done, total)

        yield beat
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(title, total=None)
        yield lambda done, total=None, what=title: progress.update(task, completed=done, total=total, description=what)


def is_first_process() -> bool:
    """False in the other processes that `torchrun` starts, which have nothing to say."""
    return os.environ.get("RANK", "0") == "0"


def set_up_logging() -> None:
    """Log to the console; what libraries say is kept quiet."""
    handler = _ConsoleLog()
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    logging.basicConfig(level=logging.INFO if is_first_process() else logging.WARNING, handlers=[handler])
    for name in ("ignite", "monai"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # MONAI sets this logger up itself when it is imported, and warns that logging is left to us.
    logging.getLogger("monai.bundle.workflows").addFilter(lambda record: "Logging file" not in record.getMessage())
    if not os.environ.get("MONAI_WSSS_WARNINGS"):
        warnings.filterwarnings("ignore", module=r"(monai|ignite|mlflow|torch)\b")


def user_error(error: BaseException) -> str | None:
    """One line for an error that the user can do something about; None for a fault of the program."""
    from torch import OutOfMemoryError

    from monai_wsss.data import causes, input_error

    found = input_error(error)
    if found is not None:
        return " ".join(str(found).split())
    for cause in causes(error):
        if isinstance(cause, OutOfMemoryError):
            return "the GPU's memory ran out; set smaller batches (such as --set train_batch_size=4) or --device cpu"
        if isinstance(cause, OSError) and (cause.filename or cause.errno == errno.ENOSPC):
            return f"{cause.filename or 'output folder'}: {cause.strerror}"
    return None
