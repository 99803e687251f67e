"""What every network has in common: the one interface that quantization, training, export and files work on."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from fireflow.hw.errors import InputError
from fireflow.hw.fields import whole
from fireflow.quant.precision import Policy, PolicyLayers

if TYPE_CHECKING:
    from fireflow.hw.preprocessing import Preprocessing
    from fireflow.quant.imported.input_record import Told
    from fireflow.quant.imported.raw import Raw, Shape
    from fireflow.quant.imported.step_graph import StepGraph

STEM = "conv1"
"""The layer that reads the pixels is called so in every network. It must not pad: see `quant.finalize`."""
MIN_INPUT, MAX_INPUT = 32, 256
MAX_WIDTH = 1 << 16
"""Channels of a layer, and classes."""
NETWORKS: dict[str, type[Network]] = {}
"""The networks by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec(ABC):
    """Everything that fixes a member of a family of networks, apart from its weights and its bit widths.

    Args:
        num_classes: scores of a picture.
        input_size: side of a picture.
        head_relu: whether a ReLU follows the last convolution, before the average.
    """

    network: ClassVar[str]
    num_classes: int = 1000
    input_size: int = 224
    head_relu: bool = True

    def check_common(self) -> None:
        """Raises InputError if a field that every network has is wrong; `__post_init__` calls it."""
        whole("num_classes", self.num_classes, high=MAX_WIDTH)
        whole("input_size", self.input_size)
        if not isinstance(self.head_relu, bool):
            raise InputError(f"head_relu: must be true or false, not {self.head_relu!r:.80}; choose one")
        if not MIN_INPUT <= self.input_size <= MAX_INPUT:
            raise InputError(
                f"input_size: must be {MIN_INPUT} to {MAX_INPUT}, not {self.input_size}; 224 and 227 are usual"
            )
        if self.num_classes < 2:
            raise InputError(f"num_classes: must be 2 or more, not {self.num_classes}; count the labels")

    @property
    @abstractmethod
    def weights(self) -> int:
        """How many the network has, without biases."""

    @property
    @abstractmethod
    def layers(self) -> PolicyLayers:
        """The layers that a policy can name."""

    def build(self, policy: Policy | None = None) -> Network:
        """The network with fresh weights: float, or with a policy quantized."""
        return NETWORKS[self.network](self, policy)

    def to_json(self) -> dict[str, Any]:
        """A JSON-able dictionary; `quant.networks.spec_from_json` reads it back."""
        return {"network": self.network, **asdict(self)}

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> Self:
        """The spec of the fields that `asdict` gives.

        Raises:
            InputError: a field is missing, unknown or wrong.
        """
        try:
            return cls(**cls.fields_from_json(content))
        except (KeyError, TypeError) as error:
            kind = NETWORKS[cls.network].title
            raise InputError(f"spec: must have the fields of a {kind} ({error}); write it again") from None

    @classmethod
    def fields_from_json(cls, content: Mapping[str, Any]) -> dict[str, Any]:
        """The arguments of a spec from JSON's values; overridden where these are not plain.

        Raises:
            KeyError, TypeError: a field is missing or wrong.
        """
        return dict(content)


@dataclass(frozen=True, slots=True)
class Connection:
    """A convolution, the activation whose output it reads (None: pixels) and the one behind it (None: scores)."""

    name: str
    conv: nn.Conv2d
    input_act: nn.Module | None
    output_act: nn.Module | None


class Block(nn.Module):
    """A part of a network whose output joins several tensors: a concat or a sum."""

    @property
    def output_act(self) -> nn.Module:
        """The quantizer that fixes the scale of the output."""
        raise NotImplementedError

    def output_name(self, path: str) -> str:
        """What the output is called; `path` is this module's in the network."""
        raise NotImplementedError


class Teachable(Protocol):
    """A `Network`, or what computes the same."""

    def scores_and_maps(self, x: Tensor, /) -> tuple[Tensor, list[Tensor]]:
        """As `Network.scores_and_maps`."""


class Network(nn.Module):
    """A network on raw RGB pixels (float tensor of 0..255, NCHW): float with `policy=None`, else quantized.

    A subclass gives its class names, registers itself under `name`, names its convolutions as their modules are named,
    the activation behind ``conv1`` ``conv1_act``, and its first convolution `STEM`.

    `pixel_offset` (1, 3, 1, 1) is subtracted from the pixels: training runs on centred pixels because that is well
    conditioned, and `quant.finalize` folds it into the bias of the stem afterwards, so that the accelerator sees uint8.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """What people call it."""
    spec_type: ClassVar[type[NetworkSpec]]
    architectures: ClassVar[Mapping[str, NetworkSpec]]
    """Members of the family that have names, to train from nothing, or published."""
    files: ClassVar[WeightFiles | None] = None
    """How files of weights that were not written here hold it; None where there are none."""
    pixel_offset: Tensor | None

    def __init_subclass__(cls) -> None:
        NETWORKS[cls.name] = cls

    def __init__(self, spec: NetworkSpec, policy: Policy | None = None) -> None:
        super().__init__()
        if policy is not None:
            spec.layers.check(policy)
        self.spec, self.policy = spec, policy
        self.register_buffer("pixel_offset", None, persistent=False)

    def scores_and_maps(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Pixels (N, 3, H, W) -> class scores (N, classes), and the maps (N, C, h, w) that a teacher can teach.

        The last map is what the last convolution gives; scores are its mean, behind a ReLU with `head_relu`.
        """
        raise NotImplementedError

    def forward(self, x: Tensor) -> Tensor:
        """Pixels (N, 3, H, W) -> class scores (N, classes), as `scores_and_maps`."""
        return self.scores_and_maps(x)[0]

    def connections(self) -> Iterator[Connection]:
        """Every convolution with the activations around it, in order; the first reads pixels, the last is the head."""
        raise NotImplementedError

    @property
    def head(self) -> Connection:
        """The last convolution, whose outputs are the classes."""
        *_, last = self.connections()
        return last

    @property
    def tied(self) -> str | None:
        """What ties the channels of layers so that Brevitas's equalization does not see it; None where nothing does."""
        return None

    def fused(self, dtype: torch.dtype) -> Teachable:
        """What a compiler can make the most of in training, on the parameters of this network: see `quant.fused`."""
        del dtype
        return self

    def joined(self, kind: str, operands: Sequence[str]) -> str | None:
        """The name of a join in exported graphs.

        Args:
            kind: "concat" or "add".
            operands: what the tensors it reads are called, "" where one has no name.

        Returns:
            None where it is not to be named.
        """
        return f"{operands[0].split('.')[0]}.{kind}"


def pool_behind(name: str) -> str:
    """The name of a max pool of the tensor `name`: pools have the number of the layer that they follow."""
    number = re.match(r"\D+(\d+)", name)
    assert number is not None, name
    return f"pool{number[1]}"


class WeightFiles(ABC):
    """How files that others wrote hold a network: which names its tensors have, and how its graph is connected."""

    mark: ClassVar[str]
    """Regular expression of the name of a tensor that only this network has; ``\\\\.`` stands between modules."""

    @abstractmethod
    def named(self, path: Path, source: str, arrays: Mapping[str, npt.NDArray[Any]]) -> Raw:
        """The tensors of a state dict by our names.

        Raises:
            InputError: they are another network's.
        """

    @abstractmethod
    def told_by(self, names: Iterable[str]) -> Told:
        """What the names of an ONNX file's weights tell of its pictures."""

    @abstractmethod
    def recognised(self, graph: StepGraph, source: str, scores: int | None, told: Told) -> Raw:
        """The convolutions of a graph by our names, found by how they are connected.

        Args:
            graph: of the file; what is recognised is marked as used.
            source: the kind of file.
            scores: the node that the scores are, None: the last.
            told: what the file tells of its pictures.

        Raises:
            InputError: this is not how the network is connected.
        """

    @abstractmethod
    def spec_of(self, place: str | Path, shapes: Mapping[str, Shape]) -> NetworkSpec:
        """The spec that has tensors of exactly these names and shapes (which do not tell the input size).

        Raises:
            InputError: a tensor is missing, unknown or of a shape that no such network has.
        """

    @abstractmethod
    def wired(self, path: Path, raw: Raw, spec: Any, chosen: Preprocessing) -> tuple[NetworkSpec, list[str]]:
        """The spec with what its shapes do not show, and sentences on what was assumed of that.

        Args:
            path: for messages.
            raw: as read.
            spec: as `spec_of` gives it, with the input size.
            chosen: how pictures are prepared.

        Raises:
            InputError: the file tells what the family does not have.
        """

    @abstractmethod
    def wiring(self, metadata: Mapping[str, Any]) -> Any:
        """`Raw.wiring` from the metadata of a .npz file.

        Raises:
            ValueError, KeyError, TypeError, InputError: it is not what was written.
        """


def float_state(arrays: Mapping[str, npt.NDArray[np.float32]]) -> dict[str, Tensor]:
    """Tensors that share the memory of float32 arrays, by name."""
    return {name: torch.from_numpy(array) for name, array in arrays.items()}
