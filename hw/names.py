"""What may be a name: of networks, tensors, classes. Names come from other people's files and go to many places."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from typing import Any

from fireflow.hw.errors import InputError

MAX_LENGTH = 1024
# Control characters and line breaks would end a comment or drive a terminal, half a surrogate pair cannot be written.
_NEVER = ("Cc", "Cs", "Zl", "Zp")
# They let a line look other than it is (CVE-2021-42574).
_BIDIRECTIONAL = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LONGEST_PLAIN = 150  # with what is added to it, still a file's name


def check_name(place: str, value: Any, empty: bool = False) -> str:
    """The name, if it is one.

    Args:
        place: what has the name, for messages.
        value: any letters of any script, digits, punctuation and spaces.
        empty: whether it may be empty.

    Raises:
        InputError: no text, an empty or very long one, or one with control characters, line breaks, marks that turn
            the direction of writing, or half a surrogate pair.
    """
    if not isinstance(value, str):
        raise InputError(f"{place}: a name must be a text, not {value!r:.80}; write it again")
    if not (empty or value) or len(value) > MAX_LENGTH:
        raise InputError(
            f"{place}: a name must have 1 to {MAX_LENGTH} characters, not {len(value)}; rename it"
        )
    if not value.isascii() or not value.isprintable():
        for letter in value:
            if unicodedata.category(letter) in _NEVER or letter in _BIDIRECTIONAL:
                raise InputError(
                    f"{place}: a name must have no control characters, line breaks or halves of characters, "
                    f"not {letter!a} in {ascii(value)[:120]}; rename it"
                )
    return value


def file_stem(name: str) -> str:
    """A name as part of a file's name: the same if it is plain, else with what is not replaced and a hash behind it.

    >>> file_stem("squeezenet-1.1"), file_stem("../../etc")
    ('squeezenet-1.1', 'etc-74ccf3c5')
    """
    if re.fullmatch(r"\w[\w.+-]*", name, re.ASCII) and len(name) <= _LONGEST_PLAIN:
        return name
    plain = re.sub(r"[^\w.+-]+", "_", name, flags=re.ASCII).strip("._+-")[:64]
    return f"{plain}-{name_hash(name)}" if plain else name_hash(name)


def name_hash(name: str) -> str:
    """Eight hexadecimal digits that hardly two names share."""
    return hashlib.sha256(name.encode("utf-8")).hexdigest()[:8]
