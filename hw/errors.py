"""The one exception for everything a user gave that is wrong."""

from __future__ import annotations


class InputError(ValueError):
    """Input that breaks a rule: a file, a model, an option, an array.

    The message is one line, "PLACE: RULE, not VALUE; FIX", for example
    "conv1: SIMD must divide MW=27, not 4; choose 1, 3, 9 or 27". The command line prints it and exits
    with code 2.
    """

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(message: str) -> str:
    """A message built from somebody else's exception or file may hold line breaks; ours is always one line."""
    return " ".join(message.split())
