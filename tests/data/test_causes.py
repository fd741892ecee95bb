"""The error behind MONAI's wrapping."""

from monai_wsss.data import causes, find_cause, input_error
from monai_wsss.errors import InputError


def test_input_error_is_found_through_cause_and_context():
    error = InputError("x: wrong")
    outer, implicit = RuntimeError("outer"), ValueError("while handling")
    outer.__cause__ = error
    implicit.__context__ = outer
    assert input_error(error) is input_error(outer) is input_error(implicit) is error
    assert input_error(RuntimeError("alone")) is None


def test_causes_come_from_the_outside_in():
    inner = OSError("inner")
    try:
        try:
            raise inner
        except OSError as error:
            raise RuntimeError("outer") from error
    except RuntimeError as outer:
        assert list(causes(outer)) == [outer, inner]
        assert find_cause(outer, OSError) is inner and find_cause(outer, KeyError) is None
