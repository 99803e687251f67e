"""What runs beside an accelerator: the driver and its devices, pictures, the HTTP service; and `cli`, the command.

It needs NumPy only, and the NumPy-only part of `hw`. `cli` prints what `fireflow` and `fireflow.pipeline` compute, and
imports them when a command runs.
"""
