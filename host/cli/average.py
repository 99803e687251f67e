"""`fireflow average`: one float network from several runs of the same start."""

from __future__ import annotations

import argparse
import sys
from dataclasses import replace

from fireflow.host.cli import arguments
from fireflow.host.cli.arguments import split_share
from fireflow.host.cli.output import print_model, remark
from fireflow.hw.card import new_card, source_record
from fireflow.hw.files import check_suffix
from fireflow.hw.overwrite import check_model
from fireflow.pipeline.inputs import find_model

_OF_A_RUN = ("start", "recipe", "data")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "networks",
        metavar="MODEL[=SHARE]",
        nargs="+",
        help="float networks that `fireflow train` wrote, and their shares of the mean (1 by default)",
    )
    arguments.output(parser, "the mean, NAME.fireq")
    arguments.force(parser)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Averages and writes the network."""
    check_suffix(args.output, ".fireq")
    from fireflow.quant.average import average
    from fireflow.quant.model_file import load_model, save_model

    models = []
    for text in args.networks:
        name, share = split_share(text)
        path = find_model(str(name))
        models.append((path, load_model(path), share))
    check_model(args.output, args.force, [path for path, _model, _share in models], remark)
    mean = average(models)
    starts = {model.card["start"]["sha256"] for _path, model, _share in models if "start" in model.card}
    if len(starts) > 1:
        print(
            "fireflow: the networks were trained from different weights, and the mean of such is hardly ever of use",
            file=sys.stderr,
        )
    card = new_card(
        args.output.name[: -len(".fireq")],
        "fireflow average",
        policy="float",
        networks=[
            {
                **source_record(path),
                "share": share,
                **{key: model.card[key] for key in _OF_A_RUN if key in model.card},
            }
            for path, model, share in models
        ],
    )
    save_model(replace(mean, card=card), args.output)
    print_model(args.output, card, f"the mean of {len(models)} networks", args.json)
    return 0
