"""What a QONNX file may not hold, with the rule and what to change in the training script or the export."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from typing import NamedTuple

from onnx import NodeProto

from fireflow.hw.errors import InputError


class Refusal(NamedTuple):
    rule: str
    fix: str


_QDQ = Refusal(
    "quantizers must be Quant nodes of QONNX, not QDQ, QCDQ or QOperator",
    "export with brevitas.export.export_qonnx",
)
_LINEAR = Refusal(
    "a fully connected layer must be a 1x1 convolution in front of the average",
    "use QuantConv2d(..., kernel_size=1) before the average and nothing behind it; the mean of a linear layer "
    "is the linear layer of the mean, so the scores stay the same",
)
_SCORES = Refusal(
    "the output must be the class scores themselves",
    "leave it out of the exported module: it does not change which class is best",
)
_ACTIVATION = Refusal(
    "an activation must be a Relu with a quantizer behind it", "use brevitas.nn.QuantReLU and train again"
)
_AVERAGE = Refusal(
    "an average must be that of all pixels, at the end",
    "end with nn.AdaptiveAvgPool2d(1), and use strides or nn.MaxPool2d elsewhere",
)
_ARITHMETIC = Refusal(
    "the only arithmetic between layers must be the sum of two quantized activations",
    "if it scales the pixels, leave it out of the exported module and say mean and std with --preprocessing "
    "FILE.json; else fold it into a convolution",
)
_LAYOUT = Refusal(
    "the file must be channels first (NCHW) throughout",
    "convert with channels-first inputs (tf2onnx: --inputs-as-nchw) and quantize with Brevitas, or leave the "
    "permutation out",
)

# Operations that have no rule of their own to say it.
REFUSALS: dict[str, Refusal] = {
    **dict.fromkeys(
        ("QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger"), _QDQ
    ),
    **dict.fromkeys(("Gemm", "MatMul"), _LINEAR),
    **dict.fromkeys(("Softmax", "LogSoftmax", "ArgMax", "TopK"), _SCORES),
    **dict.fromkeys(("LeakyRelu", "PRelu", "Elu", "HardSwish", "HardSigmoid", "Selu"), _ACTIVATION),
    **dict.fromkeys(("AveragePool", "Trunc"), _AVERAGE),
    **dict.fromkeys(("Mul", "Sub", "Div"), _ARITHMETIC),
    "Transpose": _LAYOUT,
    "BatchNormalization": Refusal(
        "batch normalization must be folded into the convolution before it",
        "call brevitas.nn.utils.merge_bn(conv, bn), put nn.Identity() in its place, calibrate and export again",
    ),
    "BipolarQuant": Refusal(
        "weights must have 2 to 6 bits and activations 1 to 8 bits, unsigned",
        "use weight_bit_width=2 or more, and QuantReLU for activations",
    ),
    "FloatQuant": Refusal(
        "quantizers must give integers", "use integer quantizers, such as Int8WeightPerTensorFloat"
    ),
    "MultiThreshold": Refusal(
        "quantizers must be Quant nodes of QONNX, not what FINN made of them",
        "give the file as brevitas.export.export_qonnx wrote it",
    ),
    "Clip": Refusal(
        "an activation must be a Relu with a quantizer behind it, whose range does the clipping",
        "use brevitas.nn.QuantReLU(max_val=6) in place of ReLU6 or Hardtanh",
    ),
    "Pad": Refusal(
        "padding must be that of a convolution or max pool", "use the padding= of the layer behind it"
    ),
    "Dropout": Refusal("Dropout must do nothing", "call network.eval() before the export"),
}
_FIRST = (
    "QuantizeLinear",
    "QLinearConv",
    "ConvInteger",
)  # of a QDQ file the first node alone tells too little


def check_operations(
    nodes: Iterable[NodeProto],
    allowed: Callable[[NodeProto], bool],
    domains: Collection[str],
    supported: Iterable[str],
) -> None:
    """Refuses operations that the lowering does not know.

    Args:
        nodes: of the file.
        allowed: whether a node may stand there.
        domains: whose operations are known.
        supported: operations to name to somebody who uses another.

    Raises:
        InputError: another one; says the rule and what to change.
    """
    listed = list(nodes)
    first = [node for node in listed if node.op_type in _FIRST and node.domain in domains]
    for node in (*first[:1], *listed):
        if not allowed(node) or node.domain not in domains:
            raise refusal(node, domains, supported)


def refusal(node: NodeProto, domains: Collection[str], supported: Iterable[str]) -> InputError:
    """What to say of a node that cannot be lowered; `supported` as of `check_operations`."""
    where = node.name or node.output[0]
    rule = REFUSALS.get(node.op_type) if node.domain in domains else None
    if rule is not None:
        return InputError(f"{where}: {rule.rule}, not {node.op_type}; {rule.fix}")
    found = f"{node.domain}.{node.op_type}".lstrip(".")
    return InputError(
        f"{where}: the operation must be one of {', '.join(supported)}, not {found}; "
        "change that part of the network"
    )
