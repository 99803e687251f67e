"""`fireflow.open_accelerator`: the device and the arithmetic that are asked for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fireflow import InputError, open_accelerator
from fireflow.pipeline.accelerators import DEADLINE_S
from tests.host.boards import bundle


@pytest.mark.parametrize("engine", ["fast", "interpreter"])
def test_every_arithmetic_gives_the_same(engine: str, tmp_path: Path) -> None:
    bundle().save(tmp_path / "small.fire")
    with open_accelerator(tmp_path / "small.fire", engine=engine, slots=2, batch=3) as accelerator:
        golden = accelerator.bundle.golden
        np.testing.assert_array_equal(accelerator.infer(golden.images), golden.scores)
        assert (accelerator.slots, accelerator.batch) == (2, 3)
        assert ("arithmetic by the" in accelerator.device.name) == (engine != "fast")
        patience_s = accelerator.patience_s
    with open_accelerator(bundle(), slots=2, batch=3, deadline_s=2 * DEADLINE_S) as accelerator:
        assert accelerator.patience_s > 1.5 * patience_s


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"device": "toaster"}, "device: must be virtual, pynq or remote:ADDRESS, not 'toaster'"),
        (
            {"device": "pynq", "engine": "interpreter"},
            "engine: must be fast on pynq, not interpreter: only the virtual",
        ),
        ({"engine": "abacus"}, "engine: must be one of fast, interpreter, rtl, not 'abacus'"),
        ({"engine": "rtl"}, "small: must be built for a board, and it is not"),
        ({"slots": 0}, "accelerator: slots must be at least 1, not 0"),
        ({"deadline_s": 0}, "accelerator: deadline_s must be above 0"),
    ],
)
def test_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        open_accelerator(bundle(), **options)
