"""The modules around FINN's: streams only, the elements as wide as the layer's, everything else tied off."""

from __future__ import annotations

from fireflow.hw.dataflow.layers import Layer, MatMul
from fireflow.hw.dataflow.memory import RAM_STYLES

_AXILITE_INPUTS = ("AWVALID", "AWADDR", "WVALID", "WDATA", "WSTRB", "BREADY", "ARVALID", "ARADDR", "RREADY")


def tied_top(
    layer: Layer,
    top: str,
    core: str,
    in_bits: int,
    out_bits: int,
    out_signed: bool,
    tied: tuple[str, ...] = (),
) -> str:
    """A module `top` around FINN's `core`, whose AXI-lite port rests.

    Args:
        layer: gives the streams.
        in_bits, out_bits: width of an element of the core's streams.
        out_signed: whether the core's output is.
        tied: further inputs of the core, held at 0.
    """
    inputs = [f"s_axilite_{name}" for name in _AXILITE_INPUTS] + list(tied)
    rest = "".join(f"\t\t.{name}('0),\n" for name in inputs)
    body = f"""\
	{core} core (
		.ap_clk, .ap_rst_n,
{rest}\
		.in0_V_TDATA(in0), .in0_V_TVALID, .in0_V_TREADY,
		.out0_V_TDATA(out0), .out0_V_TVALID, .out0_V_TREADY
	);
"""
    return _module(layer, top, body, in_bits, out_bits, out_signed)


def mvau_top(layer: MatMul, top: str, act_bits: int, acc_bits: int, weight_bits: int, image: str) -> str:
    """A module that joins FINN's MVAU with the memory of its weights, which reads `image`."""
    width = layer.pe * layer.simd * weight_bits
    padded = -(-width // 8) * 8
    body = f"""\
	// Weights: element pe * SIMD + simd of word nf * SF + sf is weight[nf * PE + pe, sf * SIMD + simd].
	wire [{padded - 1}:0]  weight;
	wire  weight_valid;
	wire  weight_ready;
	memstream #(
		.SETS(1), .DEPTH({layer.folds}), .WIDTH({width}),
		.INIT_FILE("{image}"), .RAM_STYLE("{RAM_STYLES[layer.memory]}")
	) memory (
		.clk(ap_clk), .rst(!ap_rst_n),
		.config_ce('0), .config_we('0), .config_address('0), .config_d0('0), .config_rack(), .config_q0(),
		.sidx('0), .svld('0), .srdy(),
		.odat(weight[{width - 1}:0]), .ovld(weight_valid), .ordy(weight_ready)
	);
{_zero("weight", width, padded)}\
	{top}_mvau mvau (
		.ap_clk, .ap_clk2x(ap_clk), .ap_rst_n,
		.in1_V_TDATA(weight), .in1_V_TVALID(weight_valid), .in1_V_TREADY(weight_ready),
		.in0_V_TDATA(in0), .in0_V_TVALID, .in0_V_TREADY,
		.out0_V_TDATA(out0), .out0_V_TVALID, .out0_V_TREADY
	);
"""
    return _module(layer, top, body, act_bits, acc_bits, True)


def _module(layer: Layer, top: str, body: str, in_bits: int, out_bits: int, out_signed: bool) -> str:
    """`body` reads in0 and drives out0, of its own element widths; handshakes pass by name."""
    source, sink = layer.input, layer.output
    return f"""\
// {layer.name}: {_shape(source.shape)} in words of {source.lanes} to {_shape(sink.shape)} in words of {sink.lanes}
module {top} (
	input  wire  ap_clk,
	input  wire  ap_rst_n,

	input  wire [{source.tdata_bits - 1}:0]  in0_V_TDATA,
	input  wire  in0_V_TVALID,
	output wire  in0_V_TREADY,

	output wire [{sink.tdata_bits - 1}:0]  out0_V_TDATA,
	output wire  out0_V_TVALID,
	input  wire  out0_V_TREADY
);

{_convert("in0_V_TDATA", source.bits, "in0", in_bits, source.lanes, source.signed, declare="in0")}\
{_convert("out0", out_bits, "out0_V_TDATA", sink.bits, sink.lanes, out_signed, declare="out0")}\
{body}
endmodule : {top}
"""


def _convert(
    source: str, from_bits: int, sink: str, to_bits: int, lanes: int, signed: bool, declare: str
) -> str:
    """Elements of one width into another: extended, or cut where the upper bits say nothing."""
    own = from_bits if declare == source else to_bits
    width = -(-lanes * to_bits // 8) * 8
    lines = [f"\twire [{-(-lanes * own // 8) * 8 - 1}:0]  {declare};\n"]
    if from_bits == to_bits:
        return "".join([*lines, f"\tassign {sink} = {source};\n"])
    element = f"{source}[{from_bits}*lane +: {min(from_bits, to_bits)}]"
    if to_bits > from_bits:
        fill = f"{source}[{from_bits}*lane + {from_bits - 1}]" if signed else "1'b0"
        element = f"{{{{{to_bits - from_bits}{{{fill}}}}}, {element}}}"
    lines += [
        f"\tfor(genvar  lane = 0; lane < {lanes}; lane++) begin : {declare}_lane\n",
        f"\t\tassign {sink}[{to_bits}*lane +: {to_bits}] = {element};\n",
        "\tend\n",
    ]
    return "".join(lines) + _zero(sink, lanes * to_bits, width)


def _zero(wire: str, used: int, width: int) -> str:
    return f"\tassign {wire}[{width - 1}:{used}] = '0;\n" if width > used else ""


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
