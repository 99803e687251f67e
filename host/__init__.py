"""The side of the accelerator that runs on a computer: the command line, and what reads a bundle.

Needs NumPy only, and the NumPy-only part of `hw`; `host.cli` imports the other parts for the commands that
use them.
"""
