"""What `fireflow bench` shows of its measurements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Mapping, Sequence

from fireflow.hw.table import table

if TYPE_CHECKING:
    from fireflow.host.bench.driver import DriverRow
    from fireflow.host.bench.service import ServiceRow


def simulators(facts: Mapping[str, Any]) -> str:
    """The engines, and the memory of streams."""
    lines = [f"{facts['model']} on {facts['cores']} cores, one image's time is the median over all rounds"]
    lines.append(_plain(facts["rows"]))
    for part in facts["stream"]:
        mib = part["peak_bytes"] / 2**20
        lines.append(f"fast simulator, stream of {part['images']} images: peak {mib:.0f} MiB")
    lines.append(f"memory grows with the number of images: {'YES' if facts['memory_grows'] else 'no'}")
    return "\n".join(lines)


def driver(rows: Sequence[DriverRow]) -> str:
    """The drivers."""
    head = ("driver", "batch x slots", "fps", "% of ceiling", "CPU ms/frame", "wrong")
    return table(
        head,
        [
            (
                row.driver,
                f"{row.batch} x {row.slots}",
                f"{row.fps:.1f}",
                f"{100 * row.fps / row.ceiling:.1f}" if row.ceiling else "-",
                f"{row.cpu_ms:.3f}",
                row.wrong,
            )
            for row in rows
        ],
    )


def service(rows: Sequence[ServiceRow]) -> str:
    """The service beside the driver."""
    head = (
        "interval ms", "driver fps", "clients", "service fps", "% of driver", "answers", "wrong", "lost",
        "p50 ms", "p99 ms", "MiB", "growth",
    )  # fmt: skip
    return table(
        head,
        [
            (
                f"{row.interval_ms:g}",
                f"{row.driver_fps:.1f}",
                row.clients,
                f"{row.fps:.1f}",
                f"{100 * row.fps / row.driver_fps:.0f}",
                ", ".join(f"{count} x {status}" for status, count in row.answers.items()),
                row.wrong,
                row.lost,
                f"{row.p50_ms:.0f}",
                f"{row.p99_ms:.0f}",
                f"{row.mib:.0f}",
                f"{row.growth_mib:.1f}",
            )
            for row in rows
        ],
    )


def training(facts: Mapping[str, Any]) -> str:
    """The ways of a training step."""
    head = (
        f"{facts['model']} on {facts['device']}, {facts['threads']} threads, batches of {facts['batch_size']}, "
        f"{facts['precision']}; the median of all rounds"
    )
    return f"{head}\n{_plain(facts['rows'], floats=str)}"


def _plain(rows: Sequence[Mapping[str, Any]], floats: Any = "{:.2f}".format) -> str:
    """Rows of plain values, under their names."""

    def cell(value: object) -> str:
        if value is None or isinstance(value, bool):
            return {None: "-", True: "yes", False: "NO"}[value]
        return str(floats(value)) if isinstance(value, float) else str(value)

    headings = [heading.replace("_", " ") for heading in rows[0]]
    return table(headings, [[cell(value) for value in row.values()] for row in rows])
