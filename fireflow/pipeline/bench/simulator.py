"""How fast each way to the same scores is: interpreter, fast simulator, qonnx, FINN, ONNX Runtime."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from fireflow.host.bench.processes import python_path
from fireflow.pipeline.bench.engine_worker import FILES

if TYPE_CHECKING:
    from fireflow.quant.model_file import Model

MAX_GROWTH_BYTES = 16 << 20
"""Peak memory may differ by this between a short and a long stream; the images alone are more."""
_INTEGER = ("interpreter", "fast", "finn")


@dataclass
class EngineRow:
    """One engine with its measurements."""

    engine: str
    batch: int
    threads: int
    images: int  # in one round
    seconds: list[float] = field(default_factory=list)  # per image, one for each round
    peak_bytes: int = 0
    scores: list[float] = field(default_factory=list)  # of the first image

    @property
    def ms(self) -> float:
        return 1000 * statistics.median(self.seconds)


def measure_simulators(
    model: Model,
    *,
    images: int = 32,
    rounds: int = 5,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Measures every way to the scores of a network, each in a process of its own.

    Args:
        model: quantized.
        images: of fast engines, in a round.
        rounds: through all engines; the median counts.
        progress: told how many measurements are done, and of how many.

    Returns:
        plain values: `rows` with milliseconds an image, memory and ratios; `same_integers`; `memory_grows`.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_inputs(model, folder, images)
        rows = _rows(images)
        _measure(rows, folder, rounds, progress)
        stream = [_stream_peak(folder, count, min(32, images)) for count in (64, 512)]
    return _facts(rows, stream)


def _write_inputs(model: Model, folder: Path, count: int) -> None:
    """The network in every form, and the images."""
    import torch

    from fireflow.hw.finn.lowering import lower
    from fireflow.pipeline.images import synthetic_images
    from fireflow.pipeline.lowering import lower_qonnx
    from fireflow.pipeline.qonnx_files import qonnx_manifest, write_qonnx
    from fireflow.quant.build import to_float

    qonnx = folder / FILES["qonnx"]
    write_qonnx(model, qonnx)
    bundle = lower_qonnx(qonnx, qonnx_manifest(qonnx))
    bundle.save(folder / FILES["bundle"])
    lower(qonnx).model.save(str(folder / FILES["finn"]))
    np.save(str(folder / FILES["images"]), synthetic_images(count, bundle.graph.input_type.shape))
    size = model.preprocessing.size
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns that this exporter is the old one
        torch.onnx.export(
            to_float(model.network),
            (torch.zeros(1, 3, size, size),),
            str(folder / FILES["onnxruntime"]),
            input_names=["image"],
            dynamic_axes={"image": {0: "batch"}},
            opset_version=13,
            dynamo=False,
        )


def _rows(images: int) -> list[EngineRow]:
    """The engines; the slow ones take one image a round."""
    batches = sorted({1, min(32, images)})
    return [
        EngineRow("interpreter", 1, 1, 1),
        *(EngineRow("fast", batch, threads, images) for batch in batches for threads in (1, 2)),
        EngineRow("qonnx", 1, 1, 1),
        EngineRow("finn", 1, 1, 1),
        *(EngineRow("onnxruntime", batch, threads, images) for batch in batches for threads in (1, 2)),
    ]


def _measure(
    rows: Sequence[EngineRow], folder: Path, rounds: int, progress: Callable[[int, int], None] | None
) -> None:
    """Asks each engine once a round, so that what else the machine does hits all alike."""
    workers = [_Worker(row, folder) for row in rows]
    try:
        for row, worker in zip(rows, workers, strict=True):
            row.scores = worker.ask()["scores"]
        order = [pair for _ in range(rounds) for pair in zip(rows, workers, strict=True)]
        for done, (row, worker) in enumerate(order, 1):
            answer = worker.ask()
            row.seconds.append(answer["seconds"])
            row.peak_bytes = answer["peak_bytes"]
            if progress is not None:
                progress(done, len(order))
    finally:
        for worker in workers:
            worker.close()


def _stream_peak(folder: Path, images: int, batch: int) -> dict[str, int]:
    worker = _Worker(EngineRow("stream", batch, 1, images), folder)
    try:
        answer = worker.ask()
    finally:
        worker.close()
    return {"images": answer["images"], "peak_bytes": answer["peak_bytes"]}


class _Worker:
    """A process of `engine_worker`."""

    def __init__(self, row: EngineRow, folder: Path) -> None:
        self.row = row
        request = {
            "folder": str(folder),
            **{k: v for k, v in asdict(row).items() if isinstance(v, (int, str))},
        }
        inner = 1 if row.engine == "fast" else row.threads  # the simulator's threads are not those of BLAS
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(inner))
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fireflow.pipeline.bench.engine_worker", json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={**python_path(), **counts},
            text=True,
        )

    def ask(self) -> dict[str, Any]:
        """One answer of the process."""
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        try:
            self.process.stdin.write("\n")
            self.process.stdin.flush()
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            self.errors.seek(0)
            raise RuntimeError(f"{self.row.engine}: the process ended:\n{self.errors.read().decode()}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """Ends the process."""
        self.process.kill()
        self.process.communicate()
        self.errors.close()


def _facts(rows: Sequence[EngineRow], stream: Sequence[Mapping[str, int]]) -> dict[str, Any]:
    reference = next(row for row in rows if row.engine == "interpreter").scores
    qonnx = next(row for row in rows if row.engine == "qonnx").ms
    runtime = {(row.batch, row.threads): row.ms for row in rows if row.engine == "onnxruntime"}
    table_rows = [
        {
            "engine": row.engine,
            "batch": row.batch,
            "threads": row.threads,
            "ms_per_image": round(row.ms, 3),
            "times_onnxruntime": round(row.ms / runtime[row.batch, row.threads], 3),
            "faster_than_qonnx": round(qonnx / row.ms, 2),
            "peak_mib": round(row.peak_bytes / 2**20),
            "same_integers": row.scores == reference if row.engine in _INTEGER else None,
        }
        for row in rows
    ]
    growth = stream[-1]["peak_bytes"] - stream[0]["peak_bytes"]
    return {
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "rows": table_rows,
        "same_integers": all(row["same_integers"] is not False for row in table_rows),
        "stream": list(stream),
        "memory_grows": growth > MAX_GROWTH_BYTES,
    }
