"""Names of layers that are safe in Verilog, in comments and as files, and different there where layers are.

Whoever made a network chose its names. Plain ones, such as "fire2.squeeze.act", stay as they are, so that the same
network gives the same Verilog as ever; all others are replaced.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

from fireflow.hw.dataflow.kernel import RTL
from fireflow.hw.dataflow.layers.base import Layer
from fireflow.hw.dataflow.network import Dataflow
from fireflow.hw.names import name_hash

_PLAIN = re.compile(r"\w[\w.-]*", re.ASCII)
_LONGEST = 150  # with FINN's endings still the name of a file
# What FINN appends to the name of a layer, for its modules and files.
_ENDINGS = ("", "_mvau", "_weights", "_impl", "_wrapper", "_fmpadding", "_thresholding")
# What FINN's own modules begin with: a layer that needs one of them would have it twice.
_FINNS = ("swg_", "mvu", "memstream", "axi", "fmpadding", "thresholding", "add_multi", "replay_buffer")
_TOPS = ("accelerator", "layers", "layer", "kernel", "memory", "core")
# IEEE 1800-2017, annex B.
_KEYWORDS = frozenset(
    re.findall(
        r"\w+",
        """
    accept_on alias always always_comb always_ff always_latch and assert assign assume automatic before begin bind
    bins binsof bit break buf bufif0 bufif1 byte case casex casez cell chandle checker class clocking cmos config
    const constraint context continue cover covergroup coverpoint cross deassign default defparam design disable
    dist do edge else end endcase endchecker endclass endclocking endconfig endfunction endgenerate endgroup
    endinterface endmodule endpackage endprimitive endprogram endproperty endsequence endspecify endtable endtask
    enum event eventually expect export extends extern final first_match for force foreach forever fork forkjoin
    function generate genvar global highz0 highz1 if iff ifnone ignore_bins illegal_bins implements implies import
    incdir include initial inout input inside instance int integer interconnect interface intersect join join_any
    join_none large let liblist library local localparam logic longint macromodule matches medium modport module
    nand negedge nettype new nexttime nmos nor noshowcancelled not notif0 notif1 null or output package packed
    parameter pmos posedge primitive priority program property protected pull0 pull1 pulldown pullup
    pulsestyle_ondetect pulsestyle_onevent pure rand randc randcase randsequence rcmos real realtime ref reg
    reject_on release repeat restrict return rnmos rpmos rtran rtranif0 rtranif1 s_always s_eventually s_nexttime
    s_until s_until_with scalared sequence shortint shortreal showcancelled signed small soft solve specify
    specparam static string strong strong0 strong1 struct super supply0 supply1 sync_accept_on sync_reject_on
    table tagged task this throughout time timeprecision timeunit tran tranif0 tranif1 tri tri0 tri1 triand trior
    trireg type typedef union unique unique0 unsigned until until_with untyped use uwire var vectored virtual void
    wait wait_order wand weak weak0 weak1 while wildcard wire with within wor xnor xor
    """,
    )
)
L = TypeVar("L", bound=Layer)


def module_name(layer_name: str) -> str:
    """The Verilog name of a layer's module.

    >>> module_name("fire2.expand3x3.pad")
    'fire2_expand3x3_pad'
    """
    name = re.sub(r"\W", "_", layer_name, flags=re.ASCII)
    return name if name[:1].isalpha() else f"layer_{name}"


def safe_names(names: Iterable[str]) -> dict[str, str]:
    """For every name one whose `module_name` is no other's, no word of Verilog's and no module of the libraries.

    >>> safe_names(["a.b", "c"])
    {'a.b': 'a.b', 'c': 'c'}
    >>> [module_name(name) for name in safe_names(["a.b", "a_b", "/a/b"]).values()]
    ['a_b', 'a_b_648fa9b3', 'a_b_662b7b62']
    """
    result: dict[str, str] = {}
    taken: set[str] = set()
    for name in names:
        safe = name
        if not _PLAIN.fullmatch(name) or len(name) > _LONGEST or _reserved(name) or _words(name) & taken:
            plain = re.sub(r"[^\w.-]+", "_", name, flags=re.ASCII).strip("._-")[:_LONGEST]
            safe = f"{plain or 'layer'}_{name_hash(name)}"
        while _words(safe) & taken:  # somebody looked for a name with this hash
            safe = f"{safe}_x"
        taken |= _words(safe)
        result[name] = safe
    return result


def safe_layers(layers: Sequence[L]) -> list[L]:
    """The same layers under safe names."""
    names = safe_names(layer.name for layer in layers)
    return [
        replace(
            layer,
            name=names[layer.name],
            sources=tuple(names.get(source, source) for source in layer.sources),
        )
        for layer in layers
    ]


def safe_dataflow(dataflow: Dataflow) -> Dataflow:
    """The same accelerator, its layers and itself under safe names."""
    name = dataflow.name
    if not re.fullmatch(r"[\w.,()+-]+", name, re.ASCII):
        name = safe_names([name])[name]
    # A layer may have got the name of the input.
    input_name = "in0_V"
    renamed = safe_layers(dataflow.layers)
    layers = [
        replace(
            layer,
            sources=tuple(
                input_name if old == dataflow.input_name else new
                for old, new in zip(before.sources, layer.sources, strict=True)
            ),
        )
        for before, layer in zip(dataflow.layers, renamed, strict=True)
    ]
    return replace(dataflow, name=name, input_name=input_name, layers=tuple(layers))


def modules(layers: Sequence[Layer]) -> dict[str, str]:
    """The names of the layers' modules, by the layers' own."""
    return {name: module_name(safe) for name, safe in safe_names(layer.name for layer in layers).items()}


def _words(name: str) -> set[str]:
    """What a layer of this name calls modules, files and wires; all in small letters, as some disks compare."""
    module = module_name(name).lower()
    nets = {f"{module}_in{port}_{part}" for port in range(2) for part in ("tdata", "tvalid", "tready")}
    return {f"{module}{ending}" for ending in _ENDINGS} | nets | {f"u_{module}", name.lower()}


def _reserved(name: str) -> bool:
    word = module_name(name).lower()
    return (
        word in _KEYWORDS
        or word in _TOPS
        or word in _our_modules()
        or word.startswith(("in0_v", "out0_v", *_FINNS))
    )


@lru_cache(maxsize=1)
def _our_modules() -> frozenset[str]:
    found: set[str] = set()
    for path in RTL.rglob("*.sv"):
        text = path.read_text(encoding="utf-8")
        found |= {name.lower() for name in re.findall(r"^\s*(?:module|package)\s+(\w+)", text, re.MULTILINE)}
    return frozenset(found)
