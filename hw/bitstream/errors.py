"""What refuses a wrong bitstream."""


class CheckError(RuntimeError):
    """A bitstream would be wrong, or its making went wrong unnoticed by a tool; the message says what was found."""
