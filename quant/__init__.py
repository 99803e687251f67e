"""Networks in Brevitas: import, calibration, quantization-aware training and QONNX export."""

import warnings

# What Brevitas says of itself when it is imported and used: nothing that who calls this package could change.
warnings.filterwarnings("ignore", message="fast_hadamard_transform package not found")
warnings.filterwarnings("ignore", message="Named tensors and all their associated APIs are an experimental")
