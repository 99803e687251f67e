"""The fast simulator: the integers of `Graph.run`, computed in floats that are proven exact.

How. A convolution gathers the pixels of a tile into a matrix and multiplies it with the weights in BLAS;
float32 is used where no partial sum of any order can reach 2^24, float64 up to 2^53, the interpreter's code
beyond. Where accumulators stay below 2^15, three images share one float64 (`lanes`). Thresholds become one
multiplication, one addition, a truncation and a clip, after a check that this equals counting for every
accumulator value; channels without such a line are counted (`levels`). Tensors between layers are kept in
narrow types; buffers are allocated once, and a network is a list of NumPy calls on them (`plan`, `program`,
`tape`). Results never depend on threads, batch or tiles.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import queue
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, ContextManager, Iterable, Iterator

import numpy as np

from fireflow.hw import given
from fireflow.hw.errors import InputError
from fireflow.hw.graph import Graph
from fireflow.hw.simulator.calls import Calls
from fireflow.hw.simulator.lanes import IMAGES, packed_tensors
from fireflow.hw.simulator.plan import make_plan

if TYPE_CHECKING:
    from fireflow.hw.types import Array, Int64Array

# Images that one thread carries through the network together: enough to spread the cost of a NumPy call, few
# enough for the narrow tensors to stay in the cache.
GROUP = 3


class Simulator:
    """Runs a graph.

    BLAS libraries start threads of their own. With `threadpoolctl` installed they are kept to one each while
    the simulator runs; without it, set OPENBLAS_NUM_THREADS=1 (or your library's variable) before Python
    starts.

    Args:
        graph: the network.
        threads: images are divided among this many threads; a single image uses one.
        batch: images that `run_batches` takes at a time.

    Raises:
        InputError: threads or batch below 1.
    """

    def __init__(self, graph: Graph, threads: int = 1, batch: int = 32) -> None:
        given.instance("simulator: graph", graph, Graph, "a bundle has one, bundle.graph")
        for name, value in (("threads", threads), ("batch", batch)):
            if given.whole(f"simulator: {name}", value, least=None) < 1:
                raise InputError(f"simulator: {name} must be at least 1, not {value}; use 1")
        self.graph, self.threads, self.batch = graph, threads, batch
        self._plan = make_plan(graph)
        self._packed = packed_tensors(self._plan)
        self._blas = _blas_control()
        self._begin()

    def __repr__(self) -> str:
        return f"<Simulator {self.graph.name}: threads={self.threads}, batch={self.batch}>"

    def _begin(self) -> None:
        """Threads and programs of this process: a fork has none of its parent's threads, only their locks."""
        self._process = os.getpid()
        self._programs: dict[int, queue.LifoQueue[Calls]] = {}
        self._executor = ThreadPoolExecutor(self.threads) if self.threads > 1 else None

    def run(self, images: Array) -> Int64Array:
        """Scores of the images.

        Args:
            images: as for `Graph.run`: uint8 (N, H, W, C).

        Returns:
            int64 (N, classes).
        """
        self.graph.check_images(images)
        scores = np.empty((len(images), *self.graph.output_type.shape), np.int64)
        self._each_group(images, lambda program, first, count: self._store(program, scores, first, count))
        return scores

    def run_batches(self, images: Iterable[Array]) -> Iterator[Int64Array]:
        """Scores of any number of images, `batch` at a time, in memory that does not grow.

        Args:
            images: single ones, uint8 (H, W, C).

        Returns:
            int64 (batch, classes) again and again, the last perhaps shorter.
        """
        source = iter(images)
        while True:
            piece = list(itertools.islice(source, self.batch))
            if not piece:
                return
            for image in piece:
                self.graph.check_images(np.asarray(image)[None])
            yield self.run(np.stack(piece))

    def trace(self, images: Array) -> dict[str, Int64Array]:
        """The tensors this simulator computes on their own, in topological order: int64 (N, H, W, C) or (N,
        C).

        Accumulators and other tensors that exist only inside a tile are not among them.
        """
        self.graph.check_images(images)
        tensors: dict[str, Int64Array] = {}

        def store(program: Calls, first: int, count: int) -> None:
            for name, tensor in tensors.items():
                tensor[first : first + count] = program.tensor(name)[:count]

        names = set(self._plan.names)
        for name, kind in self.graph.types.items():
            if name in names:
                tensors[name] = np.empty((len(images), *kind.shape), np.int64)
        self._each_group(images, store)
        return tensors

    def _store(self, program: Calls, scores: Int64Array, first: int, count: int) -> None:
        scores[first : first + count] = program.tensor(self.graph.output_name)[:count]

    def _each_group(self, images: Array, store: Any) -> None:
        """Runs the images in groups, each on a program that no other thread uses meanwhile."""
        if self._process != os.getpid():
            self._begin()

        def work(first: int, count: int) -> None:
            program = self._take(count)
            try:
                np.copyto(program.input, images[first : first + count])
                program.run()
                store(program, first, count)
            finally:
                self._programs.setdefault(count, queue.LifoQueue()).put(program)

        with self._blas():
            groups = list(_groups(len(images), GROUP, self.threads))
            if self._executor is None or len(groups) == 1:
                for first, count in groups:
                    work(first, count)
            else:
                for done in [self._executor.submit(work, first, count) for first, count in groups]:
                    done.result()

    def _take(self, size: int) -> Calls:
        programs = self._programs.setdefault(size, queue.LifoQueue())
        try:
            return programs.get_nowait()
        except queue.Empty:
            return Calls(self._plan, size, self._packed if size % IMAGES == 0 else frozenset())


def _groups(total: int, largest: int, threads: int) -> Iterator[tuple[int, int]]:
    """First image and number of images of each group: full groups, then single images."""
    size = largest if total >= largest * threads else 1
    full = total // size * size
    for first in range(0, full, size):
        yield first, size
    for first in range(full, total):
        yield first, 1


def _blas_control() -> Any:
    """A function that gives a context in which BLAS keeps to one thread."""
    try:
        from threadpoolctl import ThreadpoolController  # type: ignore[import-untyped, unused-ignore]
    except ImportError:
        return contextlib.nullcontext
    controller = ThreadpoolController()

    def limit() -> ContextManager[Any]:
        context: ContextManager[Any] = controller.limit(limits=1, user_api="blas")
        return context

    return limit
