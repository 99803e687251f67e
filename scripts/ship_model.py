"""Put a trained model into the package, with its measured accuracy in its card.

    python scripts/ship_model.py run/model.fireq squeezenet1_1-w4a4-imagenette --data imagenette224_val.zip

What is written is `quant/zoo/NAME.fireq`. The figures are those of `fireflow evaluate` on the very same file.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from fireflow.host.cli import main as fireflow
from fireflow.hw.card import source_record
from fireflow.hw.errors import InputError
from fireflow.quant.model_file import load_model, save_model
from fireflow.quant.zoo import shipped_path

MAX_BYTES = 1 << 20


def accuracy(model: Path, data: Path) -> dict[str, Any]:
    """What `fireflow evaluate` says of a model on a data set."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        status = fireflow(["evaluate", str(model), "--data", str(data), "--json"])
    if status != 0:
        raise InputError(f"{model}: must be evaluated on {data}, and that failed; see above")
    facts = json.loads(printed.getvalue())
    return {"data": source_record(data), **{key: facts[key] for key in ("images", "top1", "top5", "engine")}}


def main() -> int:
    """Evaluates, and writes the model with its card."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("model", type=Path, help="a trained .fireq file")
    parser.add_argument("name", help="what the model is called from now on")
    parser.add_argument(
        "--data", type=Path, action="append", required=True, help="labelled images to measure on"
    )
    parser.add_argument("--note", action="append", default=[], help="a sentence for the card")
    args = parser.parse_args()
    model = load_model(args.model)
    card = {
        **model.card,
        "name": args.name,
        "accuracy": [accuracy(args.model, data) for data in args.data],
        "notes": args.note,
    }
    target = shipped_path(args.name)
    save_model(replace(model, card=card), target)
    size = target.stat().st_size
    if size > MAX_BYTES:
        target.unlink()
        raise InputError(
            f"{target}: a shipped model must have at most {MAX_BYTES} bytes, not {size}; use fewer bits"
        )
    print(json.dumps({"file": target.name, "bytes": size, "accuracy": card["accuracy"]}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
