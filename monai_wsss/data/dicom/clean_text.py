"""Descriptions are free text, and people write names, numbers and dates into them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from functools import lru_cache

MASK = "***"
_ANYWHERE = 4  # letters from which a word is also found inside another; shorter ones ("Li", "T1") stand alone
_MONTH = "jan|feb|m[aä]r|apr|may|mai|jun|jul|aug|sep|oct|okt|nov|dec|dez"
_NUMBERS = re.compile(
    r"\d+(?:\.\d+){3,}"  # a UID
    r"|(?<!\d)(?:19|20)\d\d([./_-])\d{1,2}\1\d{1,2}(?!\d)"  # 2020-01-31
    r"|(?<!\d)\d{1,2}([./_-])\d{1,2}\2(?:(?:19|20)\d\d|\d\d)(?!\d)"  # 31.1.2020, 31.1.20
    rf"|(?<!\d)\d{{1,2}}[ ._-]?(?:{_MONTH})[a-zä]*[ ._-]?(?:19|20)\d\d(?!\d)"  # 31 Jan 2020
    r"|\d{6,}",
    re.IGNORECASE,
)
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ß": "ss", "ø": "oe", "å": "aa"})


@lru_cache(maxsize=256)
def identifying_words(texts: tuple[str, ...], staff: tuple[str, ...] = ()) -> tuple[str, ...]:
    """Return the words of names, numbers and dates of a header, as they may turn up in a description, longest first.

    Args:
        texts: of the patient: names as DICOM writes them (family^given^middle^title), numbers, dates.
        staff: names of physicians and operators; of these, initials ("SE") are no words.
    """
    words = {word for text in texts for word in _words(text) if len(word) > 1}
    words |= {word for name in staff for word in _words(name) if len(word) >= _ANYWHERE}
    return tuple(sorted(words, key=lambda word: (-len(word), word)))


def _words(text: str) -> set[str]:
    words = {text}
    for spelling in text.split("="):  # in Latin letters, in ideographs, as it sounds
        for part in spelling.split("^")[:3]:  # after these a title: "MR" is one
            words.update(re.split(r"[\W_]+", part))
    return {spelling for word in words for spelling in _spellings(word)}


def clean_description(text: str, words: Iterable[str] = ()) -> str:
    """Return a description with `***` for whatever may tell who the patient is.

    That is every word of `words`, dates, UIDs, and numbers of six digits or more.

    Args:
        text: one line.
        words: see `identifying_words`.
    """
    return _clean(text, tuple(words)) if text else ""


@lru_cache(maxsize=4096)
def _clean(text: str, words: tuple[str, ...]) -> str:
    for word in words:
        pattern = re.escape(word)
        if len(word) < _ANYWHERE:
            pattern = rf"(?<![^\W_]){pattern}(?![^\W_])"
        text = re.sub(pattern, MASK, text, flags=re.IGNORECASE)
    return " ".join(_NUMBERS.sub(MASK, text).split())


def _spellings(word: str) -> set[str]:
    """Müller, Mueller and Muller."""
    word = word.strip().lower()
    plain = "".join(c for c in unicodedata.normalize("NFKD", word) if not unicodedata.combining(c))
    return {word, word.translate(_UMLAUTS), plain}
