"""Whether the network that was built from an ONNX file computes what ONNX Runtime computes of the file itself.

The readers refuse what they do not understand. This is the second proof, by execution: both compute the scores of a
few random pictures, and nothing but rounding may lie between them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch

from fireflow.hw.errors import InputError
from fireflow.quant.imported.operations import shown
from fireflow.quant.networks.base import float_state
from fireflow.quant.pretrained import FloatWeights
from fireflow.quant.readers.onnx_weights import load_model

TOLERANCE = 1e-4
"""Largest difference, relative to the largest value of the head's maps.

Measured: ONNX Runtime's float32 lies within 8e-8 of our float64 for the four published sets of weights, and within
3e-7 for the networks of the tests. Of the changes that make another function, a ReLU taken away at any of the 26
layers of the published networks or padding at one pool, the least makes 5e-3.
"""
_PICTURES = 2


def check(path: Path, weights: FloatWeights) -> list[str]:
    """Compares an ONNX file's network with ONNX Runtime; other files have no engine here.

    Args:
        path: the file that `weights` are from.
        weights: as read, before anything is folded into them.

    Returns:
        a sentence where ONNX Runtime is not installed, so that nothing was compared.

    Raises:
        InputError: ONNX Runtime cannot run the file, or computes something else.
    """
    if weights.source != "onnx":
        return []
    try:
        import onnxruntime
    except ImportError:
        return [f"{path.name}: not compared with ONNX Runtime, which is not installed"]
    side = weights.side or weights.spec.input_size
    pictures = _pictures(weights, side)
    wanted = _by_engine(path, weights, pictures, onnxruntime)
    found, scale = _by_network(weights, pictures)
    if wanted.shape != found.shape:
        raise InputError(
            f"{path}: scores must be {found.shape[1]} a picture in ONNX Runtime as here, "
            f"not of shape {wanted.shape[1:]}; report this file"
        )
    difference = float(np.abs(found - wanted).max())
    if not difference <= TOLERANCE * scale:
        raise InputError(
            f"{path}: scores of random pictures must be those of ONNX Runtime up to rounding, not {difference:.3g} off "
            f"(of {scale:.3g}); report this file"
        )
    return []


def _pictures(weights: FloatWeights, side: int) -> npt.NDArray[np.float32]:
    """Random pictures with large and small structure, as the file wants them: float32 (N, 3, side, side)."""
    random = np.random.default_rng(0)
    places = np.arange(side) * 5 // side
    coarse = random.integers(0, 256, (_PICTURES, 3, 5, 5))[:, :, places][:, :, :, places]
    pixels = np.clip(coarse + random.integers(-48, 49, (_PICTURES, 3, side, side)), 0, 255)
    record = weights.preprocessing
    mean, std = (np.reshape(part, (1, 3, 1, 1)) for part in (record.mean, record.std))
    scaled = (pixels - mean) / std
    return np.ascontiguousarray(scaled[:, ::-1] if record.source_order == "BGR" else scaled, dtype=np.float32)


def _by_engine(
    path: Path, weights: FloatWeights, pictures: npt.NDArray[np.float32], runtime: Any
) -> npt.NDArray[np.float64]:
    """Scores by ONNX Runtime, before a softmax if there is one: (N, classes), or what the file gives."""
    model = load_model(path)
    if weights.softmax is not None:
        del model.graph.output[:]
        model.graph.output.append(onnx.ValueInfoProto(name=weights.softmax))
    options = runtime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = 1
    image = next(v for v in model.graph.input if v.name not in {t.name for t in model.graph.initializer})
    batch = image.type.tensor_type.shape.dim[0].dim_value if image.type.tensor_type.HasField("shape") else 0
    try:
        session = runtime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        results = []
        for picture in pictures:
            (scores,) = session.run(None, {image.name: np.repeat(picture[None], max(batch, 1), axis=0)})
            results.append(scores[:1])
    except Exception as error:  # ONNX Runtime raises classes of its own that derive from nothing narrower
        reason = shown(str(error).strip().splitlines()[0], 200)
        raise InputError(
            f"{path}: ONNX Runtime must be able to run the network, and cannot ({reason}); "
            "export it again or update onnxruntime"
        ) from error
    scores = np.concatenate(results).astype(np.float64)
    return scores.reshape(len(scores), -1) if scores.shape[2:] in ((), (1, 1)) else scores


@torch.no_grad()
def _by_network(
    weights: FloatWeights, pictures: npt.NDArray[np.float32]
) -> tuple[npt.NDArray[np.float64], float]:
    """Scores by the float network, in float64 (N, classes), and the largest value of the head's maps."""
    network = weights.spec.build().eval().double()
    network.load_state_dict(float_state(weights.arrays))
    scores, maps = network.scores_and_maps(torch.from_numpy(pictures).double())
    return scores.numpy(), float(maps[-1].abs().max())
