"""The public API: one line for each name, which `__init__.py` imports from there when it is first used."""

from fireflow.host.driver import Accelerator as Accelerator
from fireflow.host.scores import best as best
from fireflow.host.scores import ranks as ranks
from fireflow.hw.bundle import Bundle as Bundle
from fireflow.hw.bundle import Golden as Golden
from fireflow.hw.bundle import Manifest as Manifest
from fireflow.hw.errors import InputError as InputError
from fireflow.hw.graph import Graph as Graph
from fireflow.hw.labels import imagenet_names as imagenet_names
from fireflow.hw.picture_options import PictureOptions as PictureOptions
from fireflow.hw.preprocessing import Preprocessing as Preprocessing
from fireflow.hw.simulator import Simulator as Simulator
from fireflow.hw.table import table as table
from fireflow.pipeline.averaging import average as average
from fireflow.pipeline.evaluating import Accuracy as Accuracy
from fireflow.pipeline.evaluating import evaluate as evaluate
from fireflow.pipeline.exporting import Export as Export
from fireflow.pipeline.exporting import export as export
from fireflow.pipeline.lowering import lower as lower
from fireflow.pipeline.networks import load_network as load_network
from fireflow.pipeline.quantizing import quantize as quantize
from fireflow.pipeline.simulating import simulate as simulate
from fireflow.pipeline.training import train as train
from fireflow.pipeline.verifying import verify as verify
from fireflow.pipeline.verifying import verify_rtl as verify_rtl
from fireflow.quant.data import ImageSet as ImageSet
from fireflow.quant.data import from_arrays as from_arrays
from fireflow.quant.data import open_images as open_images
from fireflow.quant.initial import fresh_model as fresh_model
from fireflow.quant.model_file import Model as Model
from fireflow.quant.model_file import load_model as load_model
from fireflow.quant.model_file import save_model as save_model
from fireflow.quant.networks import architectures as architectures
from fireflow.quant.precision import PRESETS as PRESETS
from fireflow.quant.precision import Policy as Policy
from fireflow.quant.recipe import Recipe as Recipe
from fireflow.quant.zoo import shipped_models as shipped_models

__all__: list[str]
__version__: str
