"""Put a trained model into the package, with its measured accuracy in its card.

    python scripts/ship_model.py run/model.fireq squeezenet1_1-w4a4-imagenette --data imagenette224_val.zip

What is written is `quant/zoo/NAME.fireq`. The figures are those of `fireflow evaluate` on the very same file.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import fireflow

MAX_BYTES = 1 << 20
ZOO = Path(fireflow.__file__).parent / "quant" / "zoo"


def accuracy(model: Path, data: Path) -> dict[str, Any]:
    """How right a model is on a data set, for its card."""
    found = fireflow.evaluate(model, data)
    return {
        "data": {"file": data.name, "sha256": hashlib.sha256(data.read_bytes()).hexdigest()},
        "images": found.images,
        "top1": found.top1,
        "top5": found.top5,
        "engine": found.engine,
    }


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
    model = fireflow.load_model(args.model)
    card = {
        **model.card,
        "name": args.name,
        "accuracy": [accuracy(args.model, data) for data in args.data],
        "notes": args.note,
    }
    target = ZOO / f"{args.name}.fireq"
    fireflow.save_model(replace(model, card=card), target)
    size = target.stat().st_size
    if size > MAX_BYTES:
        target.unlink()
        raise fireflow.InputError(
            f"{target}: a shipped model must have at most {MAX_BYTES} bytes, not {size}; use fewer bits"
        )
    print(json.dumps({"file": target.name, "bytes": size, "accuracy": card["accuracy"]}, indent=1))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
