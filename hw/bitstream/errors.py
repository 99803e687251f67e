"""What refuses a wrong bitstream."""

from fireflow.hw.errors import plain


class CheckError(RuntimeError):
    """A bitstream would be wrong, or its making went wrong unnoticed by a tool; the message says what was found."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))
