"""From a quantized network to hardware. This package's own modules need NumPy only; `hw.finn` needs FINN."""
