"""What refuses a wrong bitstream."""

from fireflow.hw.errors import ToolFailure, plain


class CheckError(ToolFailure):
    """A bitstream would be wrong, or its making went wrong unnoticed by a tool; the message says what was found."""

    def __init__(self, message: str) -> None:
        super().__init__(plain(message))
