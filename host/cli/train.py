"""`fireflow train`: fine-tuning, in float or quantization-aware, with distillation."""

from __future__ import annotations

import argparse
import math
import os
import sys
import time
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Iterator, Sequence

import numpy as np

from fireflow.host.cli import arguments
from fireflow.host.cli.arguments import split_share
from fireflow.host.cli.output import print_model, remark, tell_left_out
from fireflow.host.cli.train_run import FLOAT, MODEL_FILE, Run, describe, kept
from fireflow.hw.card import MODEL_CARD, write_card
from fireflow.hw.errors import InputError
from fireflow.hw.picture_options import PictureOptions
from fireflow.hw.preprocessing import NAMED
from fireflow.hw.remarks import Notes
from fireflow.pipeline.classes import HEADS, KEEP, NEW, aligned, start_labels, with_head
from fireflow.pipeline.inputs import FIREQ, find_model, kind_of

if TYPE_CHECKING:
    from fireflow.quant.data import ImageSet
    from fireflow.quant.model_file import Model
    from fireflow.quant.precision import Policy
    from fireflow.quant.recipe import Recipe
    from fireflow.quant.train import Share

SECONDS_A_LINE = 60.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declares the arguments."""
    parser.add_argument(
        "start", metavar="START", help="float weights, a .fireq file or a shipped model by name"
    )
    arguments.output(
        parser,
        f"a folder for {MODEL_FILE}, {MODEL_CARD}, checkpoint, TensorBoard logs and what the run is made from",
    )
    parser.add_argument(
        "--restart", action="store_true", help="begin anew where a run is in the folder, and lose it"
    )
    arguments.force(parser)
    data = parser.add_argument_group("data")
    data.add_argument(
        "--data",
        action="append",
        required=True,
        metavar="PATH[=SHARE]",
        help="images, and their share of each batch (1 by default); may be repeated",
    )
    data.add_argument(
        "--exclude", action="append", type=arguments.path, default=[], metavar="IMAGES",
        help="leave out pictures whose name is in this set: what is measured must not be trained on",
    )  # fmt: skip
    data.add_argument(
        "--decode-size", type=arguments.positive, metavar="PIXELS", help="8/7 of the input by default"
    )
    data.add_argument(
        "--crop-scale", type=float, nargs=2, metavar=("A", "B"), help="least and greatest area of crops"
    )
    arguments.calibration(data)
    network = parser.add_argument_group("network")
    network.add_argument("--policy", help="bit widths as for quantize, or `float`; by default as in START")
    network.add_argument(
        "--head",
        choices=HEADS,
        default=KEEP,
        help="`data`: keep only the classes of the first labelled data, found by wnid, name or number; "
        "`new`: learn them from nothing, under the names that the data has",
    )
    arguments.labels(network)
    network.add_argument(
        "--teacher",
        action="append",
        default=[],
        metavar="WEIGHTS[=PREPROCESSING]",
        help="float network to distil from, START by default, if float; may be repeated",
    )
    network.add_argument(
        "--onnx-teacher", action="append", type=Path, default=[], metavar="FILE",
        help="classifier of any kind to distil scores from as well: ONNX, RGB pixels of 0 to 255 in; may be repeated",
    )  # fmt: skip
    network.add_argument(
        "--equalize", action="store_true", help="bring channels to like ranges before quantizing"
    )
    arguments.weights_source(network)
    recipe = parser.add_argument_group("recipe")
    length = recipe.add_mutually_exclusive_group()
    length.add_argument("--steps", type=arguments.positive, metavar="N")
    length.add_argument(
        "--epochs", type=float, metavar="E", help="as many steps as pass over all data E times"
    )
    recipe.add_argument("--batch-size", type=arguments.positive, metavar="N")
    recipe.add_argument(
        "--learning-rate", type=float, metavar="R", help="share of a tensor's own size a step"
    )
    recipe.add_argument(
        "--scale-learning-rate", type=float, metavar="R", help="the same for quantizers' scales"
    )
    recipe.add_argument(
        "--distillation", type=float, metavar="S", help="share of the loss, 0 to 1; the rest is labels"
    )
    recipe.add_argument("--temperature", type=float, metavar="T", help="of the distillation")
    recipe.add_argument(
        "--features", type=float, metavar="W", help="weight of the teacher's maps beside its scores"
    )
    recipe.add_argument(
        "--mixup", type=float, metavar="S", help="share of pictures blended with another, 0 to 1"
    )
    recipe.add_argument(
        "--crop-size",
        type=arguments.positive,
        metavar="PIXELS",
        help="side of the crops; the input's by default",
    )
    recipe.add_argument(
        "--first-size", type=arguments.positive, metavar="PIXELS", help="side of the first crops, if smaller"
    )
    recipe.add_argument(
        "--average", type=float, metavar="S", help="last share of the steps whose mean weights are the result"
    )
    recipe.add_argument(
        "--start-share", type=float, metavar="S", help="of the starting weights in a float network's result"
    )
    recipe.add_argument("--seed", type=int)
    arguments.precision(recipe, default=None)
    recipe.add_argument(
        "--compile", action="store_true", default=None, help="compile the network and its loss"
    )
    recipe.add_argument("--checkpoint-every", type=arguments.positive, metavar="STEPS")
    device = parser.add_argument_group("devices")
    device.add_argument("--devices", type=arguments.devices, default="auto", help="how many, or auto")
    arguments.accelerator(device)
    arguments.json_output(parser)


def run(args: argparse.Namespace) -> int:
    """Trains, or goes on where a run into the same folder stopped."""
    from fireflow.quant.allocator import keep_freed_memory
    from fireflow.quant.build import ASSUMED, load_network
    from fireflow.quant.onnx_teacher import OnnxTeacher
    from fireflow.quant.precision import load_policy
    from fireflow.quant.processes import emulates_bf16
    from fireflow.quant.train import train

    if args.output.exists() and not args.output.is_dir():
        raise InputError(f"{args.output}: the output must be a folder, not a file; give another name")
    keep_freed_memory()
    start = find_model(args.start)
    sets = _open_data(args)
    images = [opened for _path, opened, _weight in sets]
    notes = Notes()
    model = load_network(start, arguments.picture_options(args), notes.add, args.weights_key)
    policy = model.network.policy
    if args.policy is not None:
        policy = None if args.policy == FLOAT else load_policy(args.policy, model.network.spec.layers)
    model = replace(model, labels=start_labels(args.head, args.labels, model, images, notes))
    whole = model
    model, labelled, rows = with_head(args.head, whole, images, args.start, args.seed, notes)
    teachers = _teachers(args, whole, model, labelled, notes)
    others = [OnnxTeacher(path, rows, whole.network.spec.num_classes) for path in args.onnx_teacher]
    _check_teachers(teachers, model)
    distillation = args.distillation
    if distillation is None:
        distillation = 1.0 if teachers or others else 0.0
    shares = _decode(args, sets, model, labels_needed=distillation < 1, notes=notes)
    recipe = _recipe(args, distillation, sum(len(share.images) for share in shares))
    taught_by = [_teacher_file(args, text)[0] for text in args.teacher] or [start] * len(teachers)
    decoded = [share.images for share in shares]
    named = list(zip(taught_by, teachers, strict=True))
    wanted = describe(args, start, model, policy, named, others, sets, decoded, recipe)
    made = Run(args.output, wanted, args.restart, args.force) if _is_first_process() else None
    network = _network(args, model, policy, images[0])
    if recipe.precision == "bf16-mixed" and emulates_bf16(args.accelerator) and _is_first_process():
        print(
            "fireflow: precision: this CPU has no instructions for bf16, so bf16-mixed is slower here than 32-true",
            file=sys.stderr,
        )
    with _progress(recipe.steps) as show, kept(args.output):

        def report(step: int, loss: float) -> None:
            notes.tell(remark)  # at the first step, behind which nothing is refused any more
            show(step, loss)

        train(
            network,
            [teacher.network for teacher in teachers],
            shares,
            recipe,
            args.output,
            devices=args.devices,
            accelerator=args.accelerator,
            others=others,
            report=None if made is None else made.timed(recipe.steps, report),
            begin=None if made is None else made.begin,
        )
        if made is not None:
            assumed = {name: model.card[name] for name in (ASSUMED,) if name in model.card}
            card = {**made.card(recipe.start_share), **assumed}
            _write(args, replace(model, network=network, card=card), made)
    return 0


def _is_first_process() -> bool:
    """Whether this is the one that writes: Fabric starts the command again for each further device."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


@contextmanager
def _progress(steps: int) -> Iterator[Callable[[int, float], None]]:
    """Tells on stderr how far training is: on a terminal by a bar, else by a line a minute, which suits a log file."""
    if not sys.stderr.isatty() or not _is_first_process():
        yield _Lines(steps)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), TextColumn("{task.fields[state]}"))
    with Progress(TextColumn("training"), *columns, console=Console(stderr=True)) as bar:
        yield lambda step, loss: _show(bar, steps, step, loss)


def _show(bar: Any, steps: int, step: int, loss: float) -> None:
    if not bar.tasks:  # made with the steps of the checkpoint, which say nothing of how fast this run is
        bar.add_task("training", total=steps, completed=step, state="")
    bar.update(bar.tasks[0].id, completed=step, state="" if math.isnan(loss) else f"loss {loss:.4f}")


class _Lines:
    """A line on stderr every `SECONDS_A_LINE`, and one for the last step."""

    def __init__(self, steps: int) -> None:
        self._steps = steps
        self._first: tuple[int, float] | None = None
        self._next = 0.0

    def __call__(self, step: int, loss: float) -> None:
        now = time.monotonic()
        self._first = self._first or (step, now)
        if now < self._next and step < self._steps:
            return
        self._next = now + SECONDS_A_LINE
        first_step, since = self._first
        told = f"{step} of {self._steps} steps"
        if not math.isnan(loss):
            told += f", loss {loss:.4f}"
        if first_step < step < self._steps:
            left = (now - since) / (step - first_step) * (self._steps - step)
            told += f", {left / 60:.0f} min left"
        print(told, file=sys.stderr, flush=True)


def _open_data(args: argparse.Namespace) -> list[tuple[Path, ImageSet, float]]:
    """Path, images and share of each --data, without what --exclude names."""
    from fireflow.quant.data import open_images

    excluded = {name for path in args.exclude for name in open_images(path).names}
    sets = []
    for text in args.data:
        path, weight = split_share(text)
        images = open_images(path)
        sets.append((path, images.without(excluded) if excluded else images, weight))
    tell_left_out(*(images.left_out for _path, images, _weight in sets))
    return sets


def _teachers(
    args: argparse.Namespace, start: Model, model: Model, labelled: ImageSet | None, notes: Notes
) -> list[Model]:
    """The networks that --teacher names, else the start, with the classes of `model`."""
    from fireflow.quant.build import load_network, with_input_size
    from fireflow.quant.head import head_of_data

    if args.teacher:
        files = [_teacher_file(args, text) for text in args.teacher]
        loaded = [
            (load_network(path, PictureOptions(record), notes.add, _key_in(args, path)), path)
            for path, record in files
        ]
        size = model.preprocessing.size
        return [
            aligned(with_input_size(teacher, size), path, model, labelled, notes) for teacher, path in loaded
        ]
    # A float network learns nothing from itself, and one with a new head nothing from its start.
    unlike = start.network.policy is None and args.policy not in (None, FLOAT) and args.head != NEW
    if not unlike or args.distillation == 0:
        return []
    return [start if labelled is None else head_of_data(start, labelled)[0]]


def _key_in(args: argparse.Namespace, path: Path) -> str | None:
    """--weights-key for a teacher, whose file need not hold several networks where that of START does."""
    from fireflow.quant.pretrained import networks_in

    return args.weights_key if args.weights_key is not None and len(networks_in(path)) > 1 else None


def _teacher_file(args: argparse.Namespace, text: str) -> tuple[Path, str | None]:
    """WEIGHTS[=PREPROCESSING] in its parts; teachers may see pictures in different ways."""
    head, sign, tail = text.rpartition("=")
    if sign and (tail in NAMED or Path(tail).is_file()):
        return find_model(head), tail
    path = find_model(text)
    return path, None if kind_of(path) == FIREQ else args.preprocessing


def _check_teachers(teachers: Sequence[Model], model: Model) -> None:
    own = model.network.spec.num_classes
    for teacher in teachers:
        other, policy = teacher.network.spec.num_classes, teacher.network.policy
        if policy is not None:
            raise InputError(f"teacher: must be a float network, not {policy.name}; give float weights")
        if own != other:
            raise InputError(
                f"teacher: must have the {own} classes of the network, not {other}; use --head data"
            )


def _decode(
    args: argparse.Namespace,
    sets: Sequence[tuple[Path, ImageSet, float]],
    model: Model,
    labels_needed: bool,
    notes: Notes,
) -> list[Share]:
    """The data as training wants it: pictures of one size, labels as the network numbers them."""
    from fireflow.quant.decoded import decode_to_array
    from fireflow.quant.train import Share

    size, classes = model.preprocessing.size, model.network.spec.num_classes
    side = args.decode_size or round(size * 8 / 7)
    if side < size:
        raise InputError(f"decode size: must be at least the input size {size}, not {side}; leave it out")
    shares = []
    for _path, images, weight in sets:
        decoded = decode_to_array(images, side, progress=sys.stderr.isatty())
        labels = None
        if labels_needed:
            match = images.match(classes, model.labels)
            labels = np.array(match.rows, dtype=np.int64)[decoded.labels]
            if match.assumed_imagenet:
                notes.imagenet(args.start)
        shares.append(Share(replace(decoded, labels=labels), weight))
        for name, reason in decoded.damaged:
            print(f"skipped {name}: {reason}", file=sys.stderr)
    return shares


def _recipe(args: argparse.Namespace, distillation: float, pictures: int) -> Recipe:
    from pydantic import ValidationError

    from fireflow.quant.recipe import Recipe

    given = {name: getattr(args, name, None) for name in Recipe.model_fields}
    fields = {name: value for name, value in given.items() if value is not None}
    fields["distillation"] = distillation
    if args.epochs is not None and not 0 < args.epochs < math.inf:
        raise InputError(f"epochs: must be a number above 0, not {args.epochs}; give 0.5 or 10")
    try:
        recipe = Recipe.model_validate(fields)
        if args.epochs is not None:
            steps = math.ceil(args.epochs * pictures / recipe.batch_size)
            recipe = Recipe.model_validate({**fields, "steps": steps})
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"]).replace("_", "-")
        raise InputError(
            f"{field}: {first['msg']}, not {first['input']!r}; see `fireflow train --help`"
        ) from None
    return recipe


def _network(args: argparse.Namespace, model: Model, policy: Policy | None, images: ImageSet) -> Any:
    """The network to train, on centred pixels."""
    from fireflow.quant.build import calibration_batches, centred, to_float, to_quantized

    if policy is None:
        return to_float(centred(model))
    batches = calibration_batches(
        images, model.preprocessing, args.calibration_images, progress=sys.stderr.isatty()
    )
    return to_quantized(model, policy, batches, args.equalize)


def _write(args: argparse.Namespace, model: Model, made: Run) -> None:
    from fireflow.quant.finalize import finalize
    from fireflow.quant.model_file import save_model

    if model.network.policy is not None:
        model = replace(model, network=finalize(model.network))
    path = args.output / MODEL_FILE
    save_model(model, path)
    write_card(model.card, args.output / MODEL_CARD)
    made.record.save(args.output)
    policy = model.network.policy
    print_model(path, model.card, FLOAT if policy is None else policy.name, args.json)
