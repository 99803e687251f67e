"""`python -m fireflow.host.selftest BUNDLE [DEVICE]`: the golden images on a device, for a board with NumPy alone."""

from __future__ import annotations

import json
import sys
from typing import Sequence

from fireflow.host.devices import DeviceError
from fireflow.host.driver import Accelerator
from fireflow.hw.errors import InputError


def main(arguments: Sequence[str]) -> int:
    """Prints one line of JSON: what was compared, and how fast the device is. 0 if every integer is right."""
    if not 1 <= len(arguments) <= 2:
        print(
            "usage: python -m fireflow.host.selftest BUNDLE [virtual | pynq | remote:ADDRESS]",
            file=sys.stderr,
        )
        return 2
    try:
        with Accelerator(arguments[0], (*arguments, "virtual")[1]) as accelerator:
            check = accelerator.selftest()
            facts = accelerator.benchmark(50)
    except InputError as error:
        print(f"fireflow: {error}", file=sys.stderr)
        return 2
    except DeviceError as error:
        print(f"fireflow: {error}", file=sys.stderr)
        return 1
    facts = {"images": check.images, "differing": check.differing_scores, **facts}
    print(json.dumps(facts))
    return 0 if check.passed and facts["wrong"] == 0 else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
