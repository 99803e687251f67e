"""The public API: one line for each name, which `__init__.py` imports from there when it is first used."""

from fireflow.host.driver import Accelerator as Accelerator
from fireflow.hw.bundle import Bundle as Bundle
from fireflow.hw.errors import InputError as InputError
from fireflow.hw.graph import Graph as Graph
from fireflow.hw.parts.boards import boards as boards
from fireflow.hw.preprocessing import Preprocessing as Preprocessing
from fireflow.hw.simulator import Simulator as Simulator

__all__: list[str]
__version__: str
