"""Keyed hashes in place of names, so that nothing written tells who a patient is."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from pathlib import Path

from monai_wsss.data.atomic import atomic_path
from monai_wsss.errors import InputError

KEY_FILE = "key"
_DIGITS = 12  # hex digits: 48 bits, so that among 10,000 names two meet with a chance of 2e-7


class Pseudonyms:
    """First 12 hex digits of HMAC-SHA256(key, kind + 0x00 + name), after a letter for the kind of name.

    Without the key nobody can test whether a name they know is among the hashes, which a plain hash would allow.

    Args:
        key: secret bytes; None keeps the names (only made fit for a file name), for data that is already anonymised.
    """

    def __init__(self, key: bytes | None) -> None:
        self._key = key

    @classmethod
    def open(cls, file: str | Path, keep_names: bool = False) -> Pseudonyms:
        """Read the key from `file`, or write a new one there that only its owner may read (mode 0600).

        Raises:
            InputError: a key file that holds no key.
        """
        if keep_names:
            return cls(None)
        file = Path(file)
        if not file.exists():
            with atomic_path(file) as part:
                part.touch(mode=0o600)  # before the key is in it
                part.write_text(secrets.token_hex(32) + "\n", encoding="ascii")
        try:
            key = bytes.fromhex(file.read_text(encoding="ascii"))
        except ValueError as error:
            raise InputError(f"{file}: holds no key; put the right file back, names hang on it") from error
        if len(key) < 16:
            raise InputError(f"{file}: the key is too short; put the right file back, names hang on it")
        return cls(key)

    @property
    def keeps_names(self) -> bool:
        """Whether names stay as they are."""
        return self._key is None

    def patient(self, name: str) -> str:
        """Return the pseudonym of a patient."""
        return self._of("p", name)

    def case(self, name: str) -> str:
        """Return the pseudonym of a case; by it also under any other name of the case, see `Case.aliases`."""
        return self._of("c", name)

    def file(self, path: str | Path) -> str:
        """Return the pseudonym of a file or folder, for reports."""
        return str(path) if self._key is None else self._of("f", str(path))

    def _of(self, kind: str, name: str) -> str:
        if self._key is None:
            return re.sub(r"[^\w.\-+=@]+", "_", name) or "_"
        return kind + hmac.new(self._key, f"{kind}\0{name}".encode(), hashlib.sha256).hexdigest()[:_DIGITS]
