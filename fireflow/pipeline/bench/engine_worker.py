"""A process that measures one engine whenever it is asked to: a row of `measure_simulators`.

It has one engine only, so its peak memory is that engine's. It answers each line on its standard input with a
line of JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fireflow.hw.types import Array

FILES = {
    "bundle": "model.fire",
    "qonnx": "model.qonnx.onnx",
    "finn": "lowered.onnx",
    "onnxruntime": "float.onnx",
    "images": "images.npy",
}
Call = Callable[["Array"], "Array"]


def main() -> None:
    """Serves until the end of standard input."""
    row = json.loads(sys.argv[1])
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what the engines print must not get between the answers
    _pin(row["threads"])
    folder = Path(row["folder"])
    images = np.load(str(folder / FILES["images"]))
    if row["engine"] == "stream":
        serve: Iterator[dict[str, Any]] = _stream(folder, images[: row["batch"]], row)
    else:
        call, prepare = _ENGINES[row["engine"]](folder, row)
        serve = _measure(call, prepare, images, row)
    for _request, answer in zip(sys.stdin, serve, strict=False):
        print(json.dumps({**answer, "peak_bytes": _peak_bytes()}), file=answers, flush=True)


def _measure(call: Call, prepare: Call, images: Array, row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """First the scores of the first image, which also warms up; then times, in seconds an image."""
    batch = row["batch"]
    pieces = [prepare(images[first : first + batch]) for first in range(0, row["images"], batch)]
    scores = call(pieces[0])
    yield {"scores": np.asarray(scores[0]).ravel().tolist()}
    while True:
        started = time.perf_counter()
        for piece in pieces:
            call(piece)
        yield {"seconds": (time.perf_counter() - started) / sum(map(len, pieces))}


def _stream(folder: Path, images: Array, row: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Runs `images` over and over as one stream, as an evaluation does; keeps no scores."""
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.simulator import Simulator

    simulator = Simulator(Bundle.load(folder / FILES["bundle"]).graph, row["threads"], row["batch"])
    pictures = (images[number % len(images)].copy() for number in range(row["images"]))
    yield {"images": sum(len(scores) for scores in simulator.run_batches(pictures))}


def _fast(folder: Path, row: Mapping[str, Any]) -> tuple[Call, Call]:
    from fireflow.hw.bundle import Bundle
    from fireflow.hw.simulator import Simulator

    graph = Bundle.load(folder / FILES["bundle"]).graph
    return Simulator(graph, threads=row["threads"], batch=row["batch"]).run, _as_it_is


def _interpreter(folder: Path, row: Mapping[str, Any]) -> tuple[Call, Call]:
    from fireflow.hw.bundle import Bundle

    return Bundle.load(folder / FILES["bundle"]).graph.run, _as_it_is


def _qonnx(folder: Path, row: Mapping[str, Any]) -> tuple[Call, Call]:
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx

    return _executed(execute_onnx, ModelWrapper(str(folder / FILES["qonnx"]))), _nchw


def _finn(folder: Path, row: Mapping[str, Any]) -> tuple[Call, Call]:
    from fireflow.hw.finn.environment import finn

    with finn():
        from finn.core.onnx_exec import execute_onnx
        from qonnx.core.modelwrapper import ModelWrapper

        model = ModelWrapper(str(folder / FILES["finn"]))
    call = _executed(execute_onnx, model)

    def quietly(image: Array) -> Array:
        with finn():
            return call(image)

    return quietly, lambda images: images.astype(np.float32)


def _executed(execute: Any, model: Any) -> Call:
    source, target = model.graph.input[0].name, model.graph.output[0].name

    def call(image: Array) -> Array:
        result: Array = execute(model, {source: image})[target]
        return result

    return call


def _onnxruntime(folder: Path, row: Mapping[str, Any]) -> tuple[Call, Call]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = row["threads"], 1
    path = str(folder / FILES["onnxruntime"])
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def call(images: Array) -> Array:
        result: Array = session.run(None, {"image": images})[0]
        return result

    return call, _nchw


_ENGINES: Mapping[str, Callable[[Path, Mapping[str, Any]], tuple[Call, Call]]] = {
    "interpreter": _interpreter,
    "fast": _fast,
    "qonnx": _qonnx,
    "finn": _finn,
    "onnxruntime": _onnxruntime,
}


def _as_it_is(images: Array) -> Array:
    return images


def _nchw(images: Array) -> Array:
    """What float engines get, converted beforehand: uint8 (N, H, W, C) -> float32 (N, C, H, W)."""
    return np.ascontiguousarray(images.transpose(0, 3, 1, 2), dtype=np.float32)


def _pin(threads: int) -> None:
    """Keeps this process to as many cores as it may have threads, the same ones in every row."""
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        with contextlib.suppress(OSError):
            os.sched_setaffinity(0, cores[:threads])


def _peak_bytes() -> int:
    # Linux counts the memory of the parent before exec into ru_maxrss; VmHWM is this program's own.
    with contextlib.suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


if __name__ == "__main__":
    main()
