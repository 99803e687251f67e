"""One reader under libFuzzer: `python -m tests.fuzz.coverage_guided TARGET CORPUS RUNS SEED`.

atheris instruments the project's modules, so that inputs which reach new branches are kept and changed further. The
limits are 5 s of processor time an input, and 512 MiB beyond what the imports of the reader take.
"""

from __future__ import annotations

import random
import resource
import sys
import time
import warnings
from pathlib import Path

TIMEOUT_S, MEMORY_MIB = 5, 512
_HANG_S = 90  # on the clock, which a busy machine stretches


def main(name: str, corpus: str, runs: str, seed: str) -> None:
    import atheris

    warnings.simplefilter(
        "ignore"
    )  # of libraries about damaged files; a user's terminal does not show them either
    with atheris.instrument_imports(include=["fireflow"], enable_loader_override=False):
        from tests.fuzz.targets import TARGETS

        target = TARGETS[name]
        Path(corpus).mkdir(parents=True, exist_ok=True)
        for number, data in enumerate(
            target.seeds()
        ):  # here, since readers import what they need when they run
            (Path(corpus) / f"seed-{number}").write_bytes(data)
            assert target.run(data), f"{name}: its own seed {number} must be taken"
    base_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

    def mutate(data: bytes, max_size: int, draw: int) -> bytes:
        changed = target.mutate(data, random.Random(draw))
        return changed if len(changed) <= max_size else data

    def once(data: bytes) -> None:
        started = time.process_time()
        target.run(data)
        took_s = time.process_time() - started
        assert took_s < TIMEOUT_S, f"an input must take below {TIMEOUT_S} s, not {took_s:.1f}"

    largest = max(map(len, target.seeds()))
    options = {
        "runs": runs, "seed": seed, "timeout": _HANG_S, "rss_limit_mb": base_mib + MEMORY_MIB,
        "max_len": 4 * largest + 4096, "len_control": 0, "print_final_stats": 1, "verbosity": 0,
        "artifact_prefix": f"{corpus}-",
    }  # fmt: skip
    print(f"base_rss_mb: {base_mib}", flush=True)
    arguments = [sys.argv[0], *(f"-{key}={value}" for key, value in options.items()), corpus]
    atheris.Setup(arguments, once, custom_mutator=mutate)
    atheris.Fuzz()


if __name__ == "__main__":
    main(*sys.argv[1:])
