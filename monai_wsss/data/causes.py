"""What lies behind an error: MONAI's transforms and config parser wrap what they meet in a RuntimeError."""

from collections.abc import Iterator
from typing import TypeVar

from monai_wsss.errors import InputError

E = TypeVar("E", bound=BaseException)


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, its cause, the cause's cause and so on."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def find_cause(error: BaseException, kind: type[E]) -> E | None:
    """The first of an error's causes that is of a kind, the error itself included; None if there is none."""
    return next((cause for cause in causes(error) if isinstance(cause, kind)), None)


def input_error(error: BaseException) -> InputError | None:
    """The `InputError` among an error's causes; None if there is none."""
    return find_cause(error, InputError)
