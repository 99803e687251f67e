"""The options of `--toolchain`: each toolchain's own dataclass declares them."""

from __future__ import annotations

import argparse
from dataclasses import fields
from typing import Any

from fireflow.hw.bitstream.toolchains import TOOLCHAINS, offered
from fireflow.hw.bitstream.toolchains.base import Option, Toolchain

NONE = "none"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What a user may say of a toolchain."""
    group = parser.add_argument_group("bitstream")
    titles = [f"{name}: {each.title}" for name, each in TOOLCHAINS.items()]
    group.add_argument(
        "--toolchain",
        choices=(NONE, *TOOLCHAINS),
        default=NONE,
        help="; ".join(["none: stop at Verilog", *titles]),
    )
    wanted: dict[str, tuple[Option, Any, list[str]]] = {}
    for name, each in TOOLCHAINS.items():
        defaults = {field.name: field.default for field in fields(each.Options)}
        for field, option in offered(each.Options).items():
            wanted.setdefault(field, (option, defaults[field], []))[2].append(name)
    for field, (option, default, names) in wanted.items():
        text = f"{', '.join(names)}: {option.text}"
        if option.kind is None:
            group.add_argument(option.flag, dest=field, action="store_true", help=text)
        else:
            group.add_argument(
                option.flag,
                dest=field,
                type=option.kind,
                choices=option.choices or None,
                default=default,
                metavar=option.metavar,
                help=text,
            )


def chosen(args: argparse.Namespace) -> tuple[Toolchain[Any], Any] | None:
    """The toolchain and its options; None without one. Raises InputError for options that do not go together."""
    if args.toolchain == NONE:
        return None
    toolchain = TOOLCHAINS[args.toolchain]
    given = {field.name: getattr(args, field.name) for field in fields(toolchain.Options)}
    return toolchain, toolchain.Options(**given)
