"""Bit widths that networks may have, from training to the circuit."""

from __future__ import annotations

MIN_WEIGHT_BITS, MAX_WEIGHT_BITS = 2, 6
"""Of signed weights."""
MAX_ACTIVATION_BITS = 8
"""Of unsigned activations."""
