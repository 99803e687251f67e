"""`fireflow models`: what comes with the distribution."""

from __future__ import annotations

import argparse
from typing import Any

from fireflow.host.cli import arguments
from fireflow.host.cli.output import print_json
from fireflow.hw.table import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Lists name, policy, classes, size and accuracy."""
    from fireflow import shipped_models

    models = shipped_models()
    if args.json:
        print_json(models)
    elif not models:
        print("no model comes with this version of fireflow")
    else:
        headings = ("name", "policy", "input", "classes", "bytes", "accuracy")
        shown = [{**model, "accuracy": _accuracy(model["accuracy"])} for model in models]
        print(table(headings, [[model[heading] for heading in headings] for model in shown]))
    return 0


def _accuracy(measured: list[dict[str, Any]]) -> str:
    """Top-1 on each data set that the card has a figure for."""
    return (
        ", ".join(f"{m['top1']:.1f} % of {m['images']} in {m['data']['file']}" for m in measured)
        or "not measured"
    )
