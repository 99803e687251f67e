"""What runs beside the accelerator: the driver and its devices, pictures, the HTTP service, deploying, benches.

All of it but `host.cli`, the commands, needs NumPy only and the NumPy-only part of `hw`, and runs on a board's Python.
"""
