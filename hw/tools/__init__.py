"""Open tools that the hardware is checked with, one module each."""
