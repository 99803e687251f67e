"""Bit widths that networks may have, from training to the circuit."""

from __future__ import annotations

MIN_WEIGHT_BITS, MAX_WEIGHT_BITS = 2, 6
"""Signed weights have so many at least and at most."""
MIN_ACTIVATION_BITS, MAX_ACTIVATION_BITS = 2, 8
"""Unsigned activations have so many at least, where they are trained, and at most."""
