"""The one error that bad input raises."""


class InputError(ValueError):
    """Bad input from the user; the message names the file, what is wrong and what to do, in one line."""
