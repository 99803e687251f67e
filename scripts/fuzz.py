"""Fuzzes every reader of what comes from outside: `python scripts/fuzz.py --inputs 1000000`.

Each reader runs under coverage-guided libFuzzer (atheris) in a process of its own, as many at once as there are cores.
Prints a table, and fails on any exception that is no refusal, any input that takes over 5 s of processor time, or over
512 MiB beyond what the reader's imports take; the input itself then lies in the output folder.
"""

from __future__ import annotations

import argparse
import importlib
import math
import os
import re
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

_STAT = re.compile(r"stat::(\w+):\s+(\d+)|base_rss_mb: (\d+)")


@dataclass(frozen=True)
class Found:
    """What the fuzzing of one reader gave."""

    name: str
    inputs: int
    memory_mib: int
    slowest_s: int
    kept: int
    seconds: float
    defect: str


def fuzz(name: str, inputs: int, seed: int, out: Path) -> Found:
    """Runs one reader in a process of its own."""
    corpus, log = out / name.replace(" ", "-"), out / f"{name.replace(' ', '-')}.log"
    command = [sys.executable, "-m", "tests.fuzz.coverage_guided", name, str(corpus), str(inputs), str(seed)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    started = time.monotonic()
    with open(log, "wb") as file:
        status = subprocess.run(
            command, cwd=ROOT, stdout=file, stderr=subprocess.STDOUT, env=environment, check=False
        )
    text = log.read_text(errors="replace")
    stats = {found[1] or "base": int(found[2] or found[3]) for found in _STAT.finditer(text)}
    done = stats.get("number_of_executed_units", 0)
    defect = ""
    if status.returncode or done < inputs:
        found = re.search(
            r"Uncaught Python exception: ===\s*(.*)|ERROR: libFuzzer: (.*)|(\S*Error: .*)", text
        )
        reason = next(filter(None, found.groups())) if found else "no end"
        defect = f"{' '.join(reason.split())[:150]}; see {log}"
    memory = max(0, stats.get("peak_rss_mb", 0) - stats.get("base", 0))
    kept = len(list(corpus.iterdir())) if corpus.is_dir() else 0
    return Found(
        name, done, memory, stats.get("slowest_unit_time_sec", 0), kept, time.monotonic() - started, defect
    )


def main() -> int:
    targets = importlib.import_module("tests.fuzz.targets").TARGETS
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=1_000_000, metavar="N", help="over all readers")
    parser.add_argument("--only", action="append", choices=list(targets), help="a reader; may be repeated")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--out", type=Path, default=ROOT / "build" / "fuzz", help="corpora, logs, inputs that failed"
    )
    args = parser.parse_args()
    args.out.mkdir(parents=True, exist_ok=True)
    chosen = [targets[name] for name in args.only or targets]
    whole = sum(target.weight for target in chosen)
    jobs = [(target.name, math.ceil(args.inputs * target.weight / whole)) for target in chosen]
    with ThreadPoolExecutor(os.cpu_count() or 1) as pool:
        results = list(pool.map(lambda job: fuzz(job[0], job[1], args.seed, args.out), jobs))
    print(f"{'reader':20} {'inputs':>9} {'kept':>6} {'a second':>9} {'MiB more':>9} {'slowest s':>9}  defect")
    for found in results:
        rate = found.inputs / found.seconds
        print(
            f"{found.name:20} {found.inputs:9} {found.kept:6} {rate:9.0f} {found.memory_mib:9} {found.slowest_s:9}  "
            f"{found.defect or '-'}"
        )
    defects = sum(bool(found.defect) for found in results)
    print(
        f"{sum(found.inputs for found in results)} inputs over {len(results)} readers, {defects} with a defect"
    )
    return int(defects > 0)


if __name__ == "__main__":
    sys.exit(main())
