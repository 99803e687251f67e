"""What everything raises: `InputError` for what a user gave that is wrong, `ToolFailure` for a tool that fails."""

from __future__ import annotations

import re

_TERMINAL = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")


class InputError(ValueError):
    """Input that breaks a rule: a file, a model, an option, an array.

    The message is one line, "PLACE: RULE, not VALUE; FIX", for example
    "conv1: SIMD must divide MW=27, not 4; choose 1, 3, 9 or 27". The command line prints it and exits
    with code 2. Where it names an option of the command, the argument of the same name is meant: --weights-key is
    `weights_key`, --force is `force`, -o is `output`.
    """

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))


class ToolFailure(RuntimeError):
    """A tool that failed, or made what a check refuses; the input is not to blame.

    The command line prints the message and exits with code 1.
    """


def plain(text: str) -> str:
    """One line that a terminal only prints, of a text that may hold somebody else's words or a file's name.

    >>> plain("\\x1b[1mbold\\x1b[0m\\nand\\x07 loud")
    'bold and\\\\x07 loud'
    """
    line = " ".join(_TERMINAL.sub("", text).split())
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in line)
