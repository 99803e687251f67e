"""Bit widths that networks may have, from training to the circuit."""

from __future__ import annotations

MIN_WEIGHT_BITS, MAX_WEIGHT_BITS = 2, 6
"""Signed weights have so many at least and at most."""
MAX_ACTIVATION_BITS = 8
"""Unsigned activations have at most so many."""
