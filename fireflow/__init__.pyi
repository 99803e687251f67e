"""The public API: one line for each name, which `__init__.py` imports from there when it is first used."""

from fireflow.host.driver import Accelerator as Accelerator
from fireflow.hw.bundle import Bundle as Bundle
from fireflow.hw.errors import InputError as InputError
from fireflow.hw.graph import Graph as Graph
from fireflow.hw.parts.boards import boards as boards
from fireflow.hw.preprocessing import Preprocessing as Preprocessing
from fireflow.hw.simulator import Simulator as Simulator
from fireflow.pipeline.building import build as build
from fireflow.pipeline.counting import count_resources as count_resources
from fireflow.pipeline.lowering import load_bundle as load_bundle
from fireflow.pipeline.lowering import lower as lower
from fireflow.pipeline.planning import plan as plan
from fireflow.pipeline.reporting import report as report
from fireflow.pipeline.simulating import simulate as simulate
from fireflow.pipeline.verifying import verify as verify
from fireflow.pipeline.verifying import verify_rtl as verify_rtl

__all__: list[str]
__version__: str
