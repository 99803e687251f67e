"""FINN's RTL library files, as every tool accepts them."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from fireflow.hw.errors import InputError

# Verilator and slang refuse a constant function inside a generate block. The number of leaves below a node of the
# adder tree is counted by a function of the module instead.
_LEAVES_OLD = """\
		// Compute the count of decendents for all nodes in the reduction trees.
		typedef int unsigned  leaf_load_t[2*N-1];
		function leaf_load_t init_leaf_loads();
			automatic leaf_load_t  res;
			for(int unsigned  i = 2*N-1; i-- > N-1;)  res[i] = 1;
			for(int unsigned  i =   N-1; i-- >   0;)  res[i] = res[2*i+1] + res[2*i+2];
			return  res;
		endfunction : init_leaf_loads
		localparam leaf_load_t   LEAF_LOAD = init_leaf_loads();
"""
_LEVELS_OLD = "	localparam int unsigned  L = $clog2(N);  // Number of levels with reductions\n"
_LEVELS_NEW = f"""{_LEVELS_OLD}
	// Leaves below node i of the tree, nodes N-1 to 2*N-2 being the leaves: those of each level below it.
	function automatic int unsigned leaf_load(input int unsigned  i);
		automatic int unsigned  first = i;
		automatic int unsigned  last  = i;
		automatic int unsigned  count = 0;
		while(first < 2*N-1) begin
			automatic int unsigned  lo = first < N-1? N-1 : first;
			automatic int unsigned  hi = last < 2*N-1? last + 1 : 2*N-1;
			if(lo < hi)  count += hi - lo;
			first = 2*first + 1;
			last  = 2*last  + 2;
		end
		return  count;
	endfunction : leaf_load
"""

# The watchdog of the DSPs' recovery time exists in simulation only, by a delay that Yosys refuses.
_WATCHDOG_OLD = """\
	if(1) begin : blkRecoveryWatch
		logic  Dirty = 1;
		initial begin
			#100ns;
			Dirty <= 0;
		end

		always_ff @(posedge clk) begin
			assert(!Dirty || rst || !en || zero) else begin
				$warning("%m: Feeding input during DSP startup recovery. Expect functional errors.");
			end
		end
	end : blkRecoveryWatch
"""

# Yosys knows the attribute in small letters only, and by "distributed" a RAM, not a ROM.
_STYLE = """\
`ifdef YOSYS
{tabs}(* ram_style = RAM_STYLE == "distributed"? "logic" : RAM_STYLE *)
`else
{tabs}(* {vivado} *)
`endif
"""


def _style(tabs: str, vivado: str, memory: str) -> tuple[str, str, int]:
    """The replacement of the attribute of a memory."""
    return (
        f"{tabs}(* {vivado} *)\n{tabs}{memory}",
        f"{_STYLE.format(tabs=tabs, vivado=vivado)}{tabs}{memory}",
        1,
    )


_PATCHES: dict[str, tuple[tuple[str, str, int], ...]] = {  # file: (text, replacement, occurrences)
    "mvu/add_multi.sv": (
        (_LEVELS_OLD, _LEVELS_NEW, 1),
        (_LEAVES_OLD, "", 1),
        ("LEAF_LOAD[i]", "leaf_load(i)", 1),
        ("LEAF_LOAD[LIDX]", "leaf_load(LIDX)", 1),
        ("LEAF_LOAD[RIDX]", "leaf_load(RIDX)", 1),
    ),
    "axi/hdl/axilite.sv": (  # slang refuses a name that is used before its declaration
        ("	uwire  clr_rd;\n", "	uwire  clr_rd;\n	uwire  snk_re;\n", 1),
        ("	uwire  snk_re = ", "	assign  snk_re = ", 1),
    ),
    "mvu/mvu.sv": ((_WATCHDOG_OLD, "", 1),),
    # For the first stage of the search this is a range of bits from low to high, never looked at, which slang refuses.
    "thresholding/hdl/thresholding.sv": (
        ("p.ptr[M-1:SN+1] < 2**stage", "p.ptr[M-1:0] >> (SN+1) < 2**stage", 1),
        _style(
            "\t\t\t\t",
            'DONT_TOUCH = USE_CONFIG? "TRUE" : "FALSE", RAM_STYLE = RAM_STYLE',
            "val_t  Threshs[DEPTH];",
        ),
    ),
    # Where a result comes every cycle (SIMD = MW), those on their way when the output stalls must fit the queue:
    # one per stage of mvu.sv's pipeline, which is deeper than said here, and two until the stall is noticed.
    "mvu/mvu_vvu_axi.sv": (
        ("3 + $clog2(SIMD+1) + (SIMD == 1);", "4 + $clog2(SIMD) + (SIMD == 1);", 1),
        ("MAX_IN_FLIGHT = CORE_PIPELINE_DEPTH;", "MAX_IN_FLIGHT = CORE_PIPELINE_DEPTH + 2;", 1),
    ),
}


@cache
def library_text(path: str) -> str:
    """A file of FINN's library such as "mvu/mvu.sv", with our changes.

    Raises:
        InputError: the installed FINN has no such file, or another text where we change it.
    """
    try:
        text = (library_root() / path).read_text(encoding="utf-8")
    except OSError:
        raise InputError(f"FINN's library must have {path}, and the installed one has not; {_FIX}") from None
    for old, new, count in _PATCHES.get(path, ()):
        if text.count(old) != count:
            line = old.strip().splitlines()[0].strip()
            raise InputError(f"FINN's {path} must have {line!r}, which we replace, and it has not; {_FIX}")
        text = text.replace(old, new)
    return text


_FIX = "install finn-plus 1.6.1"


@cache
def library_root() -> Path:
    from finn.util.settings import get_settings

    return Path(get_settings().finn_rtllib).resolve()
