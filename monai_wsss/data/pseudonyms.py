"""Keyed hashes in place of names, so that nothing written tells who a patient is."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

from monai_wsss.data.atomic import atomic_path
from monai_wsss.data.dataset_file import PreparedDataset
from monai_wsss.errors import InputError

KEY_FILE = "key"
_DIGITS = 12  # hex digits: 48 bits, so that among 10,000 names two meet with a chance of 2e-7
_LONGEST = 120  # bytes of a kept name: a file name has 255, and suffixes and temporary prefixes join it


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
            InputError: a key file that holds no key, or cannot be read.
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
        except PermissionError as error:
            raise InputError(f"{file}: may not be read; only its owner can work with these names") from error
        except (OSError, ValueError) as error:
            raise InputError(f"{file}: holds no key; put the right file back, names hang on it") from error
        if len(key) < 16:
            raise InputError(f"{file}: the key is too short; put the right file back, names hang on it")
        return cls(key)

    @classmethod
    def of_prepared(cls, folder: str | Path) -> Pseudonyms:
        """Return the names of a prepared folder: by its key, or kept where it was last prepared so.

        A folder that was prepared with hashes once and keeps names now still has its key.

        Raises:
            InputError: see `open`; no dataset.json, or names that are hashes without the key.
        """
        file, cases = Path(folder) / KEY_FILE, PreparedDataset.read(folder).cases()
        hashed = any(is_case_pseudonym(case.case) for case in cases)
        if hashed and not file.exists():
            raise InputError(f"{file}: not there, but the folder's names are hashes; put the key back")
        return cls.open(file, keep_names=not hashed and (bool(cases) or not file.exists()))

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

    def site(self, name: str) -> str:
        """Return the pseudonym of a site: a hospital and a date together can name a patient."""
        return self._of("s", name)

    def file(self, path: str | Path) -> str:
        """Return the pseudonym of a file or folder, for reports."""
        return str(path) if self._key is None else self._of("f", str(path))

    def below(self, path: str | Path, root: str | Path) -> str:
        """Return the pseudonym of a file by its path below `root`, so that it does not depend on where `root` lies."""
        path = Path(path)
        return self.file(path.relative_to(root).as_posix() if path.is_relative_to(root) else path)

    def digest(self, text: str) -> str:
        """Return a digest of any text, to see later whether it is still the same; keyed, unless names are kept."""
        return hmac.new(self._key or b"", _bytes(f"d\0{text}"), hashlib.sha256).hexdigest()

    def _of(self, kind: str, name: str) -> str:
        if self._key is None:
            return _file_name(name)
        return kind + hmac.new(self._key, _bytes(f"{kind}\0{name}"), hashlib.sha256).hexdigest()[:_DIGITS]


def key_beside(folder: str | Path) -> Path:
    """Return the key file of an output folder: beside it, so that the folder can be handed on without the key."""
    folder = Path(folder).absolute()
    return folder.with_name(f"{folder.name}.{KEY_FILE}")


def names_ever(folder: str | Path, written: Iterable[str]) -> tuple[Pseudonyms, ...]:
    """Return each way in which a prepared folder may have written names: kept, and by its key if it has one.

    Args:
        folder: prepared folder.
        written: patients as they were written, to be compared with others.

    Raises:
        InputError: some are hashes and the key is not there; see also `Pseudonyms.open`.
    """
    file = Path(folder) / KEY_FILE
    if file.exists():
        return Pseudonyms(None), Pseudonyms.open(file)
    if any(map(is_patient_pseudonym, written)):
        raise InputError(f"{file}: not there, but patients are noted here as hashes; put the key back")
    return (Pseudonyms(None),)


def is_case_pseudonym(name: str) -> bool:
    """Return whether `name` looks like what `Pseudonyms.case` returns."""
    return re.fullmatch(f"c[0-9a-f]{{{_DIGITS}}}", name) is not None


def is_patient_pseudonym(name: str) -> bool:
    """Return whether `name` looks like what `Pseudonyms.patient` returns."""
    return re.fullmatch(f"p[0-9a-f]{{{_DIGITS}}}", name) is not None


def _file_name(name: str) -> str:
    """Return `name` if it can name a file, else what can, with 8 hex digits of its SHA-256 so that no two meet."""
    safe = re.sub(r"[^\w.\-+=@]+", "_", name).lstrip(".")  # a file whose name begins with a dot is hidden
    safe = safe.encode()[:_LONGEST].decode(errors="ignore")
    return safe if safe and safe == name else f"{safe or '_'}-{hashlib.sha256(_bytes(name)).hexdigest()[:8]}"


def _bytes(text: str) -> bytes:
    """UTF-8, of file names in another encoding too, which Python holds as lone surrogates."""
    return text.encode(errors="surrogatepass")
