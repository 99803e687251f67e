"""`fireflow bench`: how fast simulators, the driver, the service and training are, each beside something else."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict

from fireflow.host.cli import bench_arguments, bench_tables
from fireflow.host.cli.output import bar, print_json
from fireflow.hw.bundle import Bundle
from fireflow.hw.errors import InputError
from fireflow.pipeline.inputs import fireq_or_default


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments of each kind."""
    kinds = parser.add_subparsers(title="what to measure", dest="what", required=True)
    for name, (line, declare, measure) in _KINDS.items():
        child = kinds.add_parser(name, help=line)
        declare(child)
        child.set_defaults(measure=measure)


def run(args: argparse.Namespace) -> int:
    """Measures what was asked for."""
    status: int = args.measure(args)
    return status


def _simulator(args: argparse.Namespace) -> int:
    """Fails if integers differ or the memory of the fast simulator grows with the images."""
    from fireflow.pipeline.bench.simulator import measure_simulators
    from fireflow.quant.model_file import load_model

    path = fireq_or_default(args.model)
    model = load_model(path)
    with bar("measuring") as progress:
        measured = measure_simulators(model, images=args.images, rounds=args.rounds, progress=progress)
    facts = {"model": path.name, **measured}
    print_json(facts) if args.json else print(bench_tables.simulators(facts))
    return 0 if facts["same_integers"] and not facts["memory_grows"] else 1


def _driver(args: argparse.Namespace) -> int:
    """Fails if a score is wrong or the driver is slower than it must be."""
    from fireflow.host.bench.driver import measure_driver, problems

    rows = measure_driver(
        Bundle.load(args.bundle),
        frames=args.frames,
        interval_s=args.interval_ms / 1e3,
        latency_s=args.latency_ms / 1e3,
        pynq_python=args.pynq_python,
    )
    print_json([asdict(row) for row in rows]) if args.json else print(bench_tables.driver(rows))
    missed = problems(rows)
    for problem in missed:
        print(f"fireflow: {problem}", file=sys.stderr)
    return int(bool(missed))


def _serve(args: argparse.Namespace) -> int:
    """Fails if an answer is wrong or missing, or memory grows."""
    from fireflow.host.bench.service import all_right, measure_service

    rows = measure_service(
        Bundle.load(args.bundle),
        clients=args.clients,
        seconds=args.seconds,
        queue=args.queue,
        interval_s=args.interval_ms / 1e3,
        latency_s=args.latency_ms / 1e3,
    )
    print_json([asdict(row) for row in rows]) if args.json else print(bench_tables.service(rows))
    return int(not all_right(rows))


def _training(args: argparse.Namespace) -> int:
    from fireflow.pipeline.bench.training import measure_training
    from fireflow.quant.model_file import load_model

    path = fireq_or_default(args.model)
    network = load_model(path).network
    if network.policy is None:
        raise InputError(f"{path}: must be quantized, not float; run `fireflow quantize` first")
    with bar("measuring") as progress:
        measured = measure_training(
            network,
            batch_size=args.batch_size,
            rounds=args.rounds,
            threads=args.threads,
            precision=args.precision,
            accelerator=args.accelerator,
            progress=progress,
        )
    facts = {"model": path.name, **measured}
    print_json(facts) if args.json else print(bench_tables.training(facts))
    return 0


_KINDS = {
    "simulator": (
        "interpreter, fast simulator, qonnx, FINN, ONNX Runtime",
        bench_arguments.simulator,
        _simulator,
    ),
    "driver": ("the driver on the virtual board, beside FINN+'s own", bench_arguments.driver, _driver),
    "serve": ("the HTTP service with many clients, beside the bare driver", bench_arguments.serve, _serve),
    "training": (
        "a step of training by Brevitas's modules and compiled",
        bench_arguments.training,
        _training,
    ),
}
