"""`fireflow bench`: how fast each way to the same scores is, measured side by side; drivers and training likewise."""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import warnings
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Mapping, Sequence

import numpy as np

import fireflow
from fireflow.host.cli import arguments, bench_driver, bench_serve, bench_training
from fireflow.host.cli.arguments import MODEL_HELP
from fireflow.host.cli.bench_worker import FILES
from fireflow.host.cli.output import print_json, progress, table
from fireflow.pipeline.inputs import fireq_or_default

if TYPE_CHECKING:
    from fireflow.quant.model_file import Model

MAX_GROWTH_BYTES = 16 << 20
"""Peak memory may differ by this between a short and a long stream; the images alone are more."""
_INTEGER = ("interpreter", "fast", "finn")


@dataclass
class Row:
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


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    kinds = parser.add_subparsers(title="what to measure", dest="what", required=True)
    simulator = kinds.add_parser("simulator", help="interpreter, fast simulator, qonnx, FINN, ONNX Runtime")
    simulator.add_argument(
        "model",
        metavar="MODEL",
        nargs="?",
        help=f"{MODEL_HELP}; by default the shipped 1000-class w4a4 network",
    )
    simulator.add_argument(
        "--images", type=arguments.positive, default=32, metavar="N", help="of fast engines, a round"
    )
    simulator.add_argument(
        "--rounds", type=arguments.positive, default=5, metavar="N", help="through all engines"
    )
    arguments.json_output(simulator)
    simulator.set_defaults(measure=_simulator)
    driver = kinds.add_parser("driver", help="the driver on the virtual board, beside FINN+'s own")
    bench_driver.add_arguments(driver)
    driver.set_defaults(measure=bench_driver.run)
    serve = kinds.add_parser("serve", help="the HTTP service with many clients, beside the bare driver")
    bench_serve.add_arguments(serve)
    serve.set_defaults(measure=bench_serve.run)
    training = kinds.add_parser("training", help="a step of training by Brevitas's modules and compiled")
    bench_training.add_arguments(training)
    training.set_defaults(measure=bench_training.run)


def run(args: argparse.Namespace) -> int:
    """Measures what was asked for."""
    status: int = args.measure(args)
    return status


def _simulator(args: argparse.Namespace) -> int:
    """Fails if integers differ or the memory of the fast simulator grows with the images."""
    from fireflow.quant.model_file import load_model

    path = fireq_or_default(args.model)
    model = load_model(path)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        _write_inputs(model, folder, args.images)
        rows = _rows(args.images)
        _measure(rows, folder, args.rounds)
        stream = [_stream_peak(folder, count, min(32, args.images)) for count in (64, 512)]
    facts = _facts(path, rows, stream)
    if args.json:
        print_json(facts)
    else:
        _print(facts)
    return 0 if facts["same_integers"] and not facts["memory_grows"] else 1


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


def _rows(images: int) -> list[Row]:
    """The engines; the slow ones take one image a round."""
    batches = sorted({1, min(32, images)})
    return [
        Row("interpreter", 1, 1, 1),
        *(Row("fast", batch, threads, images) for batch in batches for threads in (1, 2)),
        Row("qonnx", 1, 1, 1),
        Row("finn", 1, 1, 1),
        *(Row("onnxruntime", batch, threads, images) for batch in batches for threads in (1, 2)),
    ]


def _measure(rows: Sequence[Row], folder: Path, rounds: int) -> None:
    """Asks each engine once a round, so that what else the machine does hits all alike."""
    workers = [_Worker(row, folder) for row in rows]
    try:
        for row, worker in zip(rows, workers):
            row.scores = worker.ask()["scores"]
        order = [pair for _ in range(rounds) for pair in zip(rows, workers)]
        for row, worker in progress(order, "measuring", len(order)):
            answer = worker.ask()
            row.seconds.append(answer["seconds"])
            row.peak_bytes = answer["peak_bytes"]
    finally:
        for worker in workers:
            worker.close()


def _stream_peak(folder: Path, images: int, batch: int) -> dict[str, int]:
    worker = _Worker(Row("stream", batch, 1, images), folder)
    try:
        answer = worker.ask()
    finally:
        worker.close()
    return {"images": answer["images"], "peak_bytes": answer["peak_bytes"]}


class _Worker:
    """A process of `host.cli.bench_worker`."""

    def __init__(self, row: Row, folder: Path) -> None:
        self.row = row
        request = {
            "folder": str(folder),
            **{k: v for k, v in asdict(row).items() if isinstance(v, (int, str))},
        }
        root = Path(fireflow.__file__).resolve().parents[1]
        inner = 1 if row.engine == "fast" else row.threads  # the simulator's threads are not those of BLAS
        counts = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), str(inner))
        places = [str(root), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.errors: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115  closed by `close`
        self.process = subprocess.Popen(
            [sys.executable, "-m", "fireflow.host.cli.bench_worker", json.dumps(request)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.errors,
            env={**os.environ, **counts, "PYTHONPATH": os.pathsep.join(places)},
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


def _facts(path: Path, rows: Sequence[Row], stream: Sequence[Mapping[str, int]]) -> dict[str, Any]:
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
        "model": path.name,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "rows": table_rows,
        "same_integers": all(row["same_integers"] is not False for row in table_rows),
        "stream": list(stream),
        "memory_grows": growth > MAX_GROWTH_BYTES,
    }


def _print(facts: Mapping[str, Any]) -> None:
    print(f"{facts['model']} on {facts['cores']} cores, one image's time is the median over all rounds")
    headings = [heading.replace("_", " ") for heading in facts["rows"][0]]
    print(table(headings, [[_cell(value) for value in row.values()] for row in facts["rows"]]))
    for part in facts["stream"]:
        print(f"fast simulator, stream of {part['images']} images: peak {part['peak_bytes'] / 2**20:.0f} MiB")
    print(f"memory grows with the number of images: {'YES' if facts['memory_grows'] else 'no'}")


def _cell(value: object) -> str:
    if value is None or isinstance(value, bool):
        return {None: "-", True: "yes", False: "NO"}[value]
    return f"{value:.2f}" if isinstance(value, float) else str(value)
