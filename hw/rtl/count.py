"""What the layers of an accelerator take of an FPGA, counted by Yosys one by one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

from fireflow.hw.cache import content_key
from fireflow.hw.dataflow.kernel import Module
from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.parts import Resources, family_of_part
from fireflow.hw.rtl.stitch import write_layer
from fireflow.hw.tools import yosys

Progress = Callable[[str, int, int], None]


def count_layers(
    layers: Sequence[Layer],
    part: str,
    clock_ns: float,
    *,
    jobs: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Resources]:
    """Resources by layer. Layers of equal RTL are counted once; counts are cached, so an interrupted run goes on.

    Args:
        layers: of an accelerator, FIFOs included.
        part: the FPGA, such as "xc7z020clg400-1".
        clock_ns: the clock's period, for which FINN writes its RTL.
        jobs: layers counted beside each other; by default one for each core.
        progress: called with a layer's name, how many different ones are counted, and how many there are.

    Raises:
        InputError: no Yosys; a layer that no kernel computes.
        SynthesisError: Yosys refuses a layer.
    """
    with tempfile.TemporaryDirectory(prefix="fireflow-count-") as scratch:
        written: dict[str, _Written] = {}
        alike: dict[str, list[str]] = {}
        for number, layer in enumerate(layers):
            own = _Written(layer, part, clock_ns, Path(scratch) / str(number))
            written.setdefault(own.key, own)
            alike.setdefault(own.key, []).append(layer.name)
        result: dict[str, Resources] = {}
        with ThreadPoolExecutor(jobs or os.cpu_count()) as pool:
            # The small ones first: whoever watches sees it move.
            order = sorted(written, key=lambda key: written[key].size)
            running = {pool.submit(written[key].count): key for key in order}
            try:
                for done, future in enumerate(as_completed(running), 1):
                    names = alike[running[future]]
                    result.update(dict.fromkeys(names, future.result()))
                    if progress is not None:
                        progress(names[0], done, len(written))
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
    return {layer.name: result[layer.name] for layer in layers}


class _Written:
    """The RTL of a layer on its own, in a folder, under a name that all layers have: equal ones look equal.

    Attributes:
        key: of its content.
        size: bits that its ports are wide times those that it keeps: roughly how long it takes.
    """

    def __init__(self, layer: Layer, part: str, clock_ns: float, folder: Path) -> None:
        folder.mkdir()
        self.family, self.folder = family_of_part(part).name, folder
        sources: dict[str, None] = {}
        self.used: Module = write_layer(replace(layer, name="layer"), part, clock_ns, folder, sources)
        self.sources = list(sources)
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        self.images = [p.relative_to(folder).as_posix() for p in files if p.suffix in (".dat", ".hex")]
        self.key = content_key([self.used.name, str(dict(self.used.parameters)), *files])
        self.size = layer.input.lanes * layer.output.lanes

    def count(self) -> Resources:
        return yosys.resources(
            self.used.name,
            self.sources,
            self.family,
            folder=self.folder,
            images=self.images,
            parameters=self.used.parameters,
        ).used
