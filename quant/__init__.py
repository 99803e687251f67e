"""Networks in Brevitas: import, calibration, quantization-aware training and QONNX export."""
