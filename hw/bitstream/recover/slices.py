"""Slices: look-up tables, as memory too, carry chains, wide multiplexers, flip-flops.

Source: AMD UG474 (7 Series CLB), figures 2-3 and 2-4: what the letters of the features name.
"""

from __future__ import annotations

from functools import partial

from fireflow.hw.bitstream.recover.netlist import Netlist, bus, lut
from fireflow.hw.bitstream.recover.routing import RecoveryError

_LETTERS = "ABCD"
_WIDE = {"A": ("BO6", "AO6", "AX"), "C": ("DO6", "CO6", "CX"), "B": ("C_F7", "A_F7", "BX")}


class Slice:
    """One slice: `make` writes the Verilog of one of its outputs, or of a net within.

    The nets within are AO6 and AO5 of the look-up tables, AMC31 of shift registers, A_F7, B_F8 and C_F7 of the wide
    multiplexers, A_CY and A_XOR of the carry chain, AQ and A5Q of the flip-flops.
    """

    def __init__(self, netlist: Netlist, site: str) -> None:
        self.netlist, self.site = netlist, site
        kinds = {"CLBLM": ("SLICEM_X0", "SLICEL_X1"), "CLBLL": ("SLICEL_X0", "SLICEL_X1")}
        self.kind = kinds[netlist.tile(site).type[:5]][netlist.place(site)[0]]
        features = netlist.tile_features(site)
        self.flags = {flag[10:] for flag in features.flags if flag.startswith(self.kind)}
        self.values = {key[10:]: value for key, value in features.values.items() if key.startswith(self.kind)}

    def make(self, name: str) -> None:
        letter, rest = ("D", "COUT") if name == "COUT" else (name[0], name[1:])
        makers = {
            "": partial(self._alias, f"{letter}O6"),
            "MUX": partial(self._output_mux, letter),
            "COUT": partial(self._alias, "D_CY"),
            "O6": partial(self._look_up, letter, 6),
            "O5": partial(self._look_up, letter, 5),
            "MC31": partial(self._look_up, letter, 31),
            "_F7": partial(self._wide, letter),
            "_F8": partial(self._wide, letter),
            "_CY": partial(self._carry, letter),
            "_XOR": partial(self._carry, letter),
            "Q": partial(self._flip_flop, letter, ""),
            "5Q": partial(self._flip_flop, letter, "5"),
        }
        makers[rest](name)

    def _net(self, name: str) -> str:
        return self.netlist.signal(self.site, name)

    def _pin(self, name: str) -> str:
        return self.netlist.pin(self.site, name)

    def _assign(self, name: str, expression: str) -> None:
        self.netlist.assign(f"{self.site}_{name}", expression)

    def _alias(self, inner: str, name: str) -> None:
        self._assign(name, self._net(inner))

    def _choice(self, mux: str, default: str = "") -> str:
        """What a multiplexer lets through, by its one feature; `default` is that whose bits are all 0."""
        found = [flag[len(mux) + 1 :] for flag in self.flags if flag.startswith(mux + ".")]
        if not found and default:
            return default
        if len(found) != 1:
            raise RecoveryError(
                f"{self.site}.{mux}: a multiplexer that matters must have one input, not {sorted(found) or 'none'}"
            )
        return found[0]

    def _through(self, letter: str, choice: str) -> str:
        """The net that the multiplexers in front of outputs and flip-flops name so."""
        if choice in ("O6", "O5", "MC31"):
            return self._net(f"{letter}{choice}")
        if choice in ("CY", "XOR", "F7", "F8"):
            return self._net(f"{letter}_{choice}")
        if choice.endswith("5Q"):
            return self._net(f"{letter}5Q")
        return self._pin(choice)

    def _output_mux(self, letter: str, name: str) -> None:
        self._assign(name, self._through(letter, self._choice(f"{letter}OUTMUX")))

    def _wide(self, letter: str, name: str) -> None:
        zero, one, select = _WIDE[letter]
        self.netlist.count("MUXF8" if letter == "B" else "MUXF7")
        self._assign(name, f"{self._pin(select)} ? {self._net(one)} : {self._net(zero)}")

    def _carry(self, letter: str, name: str) -> None:
        position = _LETTERS.index(letter)
        if position:
            before = self._net(f"{_LETTERS[position - 1]}_CY")
        else:
            choice = self._choice("PRECYINIT", "C0")
            before = f"1'b{choice[1]}" if choice in ("C0", "C1") else self._pin(choice)
        select = self._net(f"{letter}O6")
        if name.endswith("_XOR"):
            self._assign(name, f"{select} ^ {before}")
            return
        self.netlist.count("MUXCY")
        other = self._net(f"{letter}O5") if f"CARRY4.{letter}CY0" in self.flags else self._pin(f"{letter}X")
        self._assign(name, f"{select} ? {before} : {other}")

    def _look_up(self, letter: str, output: int, name: str) -> None:
        if {f"{letter}LUT.RAM", f"{letter}LUT.SRL"} & self.flags:
            self._memory(letter, output, name)
            return
        init = self.values.get(f"{letter}LUT.INIT", 0)
        inputs = [self._pin(f"{letter}{i}") for i in range(1, 7 if output == 6 else 6)]
        self.netlist.count(f"LUT{output}")
        self._assign(name, lut(init & ((1 << (1 << len(inputs))) - 1), inputs))

    def _memory(self, letter: str, output: int, name: str) -> None:
        """A table as memory. One of two outputs is two memories: the halves of the table."""
        shift, small = f"{letter}LUT.SRL" in self.flags, f"{letter}LUT.SMALL" in self.flags
        half = 1 if small and output == 6 else 0
        init = self.values.get(f"{letter}LUT.INIT", 0)
        write = self._pin("CE" if "WEMUX.CE" in self.flags else "WE")
        ports = {"CLK": self._clock(), "WE": write, "D": self._data(letter, bool(half))}
        if small:
            init = init >> 32 * half & 0xFFFFFFFF
        address = [self._pin(f"{letter}{i}") for i in range(1, 6 if small else 7)]
        if shift:
            # Each bit of a shift register lies twice in the table, whose first input is not used.
            depth = 16 if small else 32
            bits = sum((init >> 2 * i & 1) << i for i in range(depth))
            ports |= {"A": bus(address[1:]), "Q": name if output != 31 else "", "Q31": ""}
            ports["Q" if output != 31 else "Q31"] = self.netlist.declare(f"{self.site}_{name}")
            parameters = {"DEPTH": str(depth), "INIT": f"{depth}'h{bits:x}"}
            self.netlist.instance("SHIFT_REGISTER", f"{self.site}_{name}_cell", parameters, ports)
            return
        width = len(address)
        enable = [write, *self._bank(letter)] if not small else [write]
        ports["WE"] = " & ".join(enable)
        ports["WA"] = bus([self._pin(f"D{i}") for i in range(1, width + 1)])
        ports |= {"RA": bus(address), "O": self.netlist.declare(f"{self.site}_{name}")}
        if output == 5 and not small:
            ports["RA"] = "{1'b0, " + bus(address[:5]) + "}"
        parameters = {"WIDTH": str(width), "INIT": f"{1 << width}'h{init:x}"}
        self.netlist.instance("DISTRIBUTED_RAM", f"{self.site}_{name}_cell", parameters, ports)

    def _bank(self, letter: str) -> list[str]:
        """The upper bits of the write address, which choose among the tables of a deeper memory."""
        result = []
        if "WA7USED" in self.flags:
            result.append(("" if letter in "AC" else "~") + self._pin("CX"))
        if "WA8USED" in self.flags:
            result.append(("" if letter in "AB" else "~") + self._pin("BX"))
        return result

    def _data(self, letter: str, second: bool) -> str:
        """The data input of a table as memory: the second one is the slice's X, the first has a multiplexer."""
        if second:
            return self._pin(f"{letter}X")
        if letter == "D" or f"{letter}LUT.DI1MUX.{letter}I" in self.flags:
            return self._pin(f"{letter}I")
        # Without the slice's own input it is the neighbour's: its data, or the end of its shift register.
        if f"{letter}LUT.SRL" in self.flags:
            return self._net(f"{_LETTERS[_LETTERS.index(letter) + 1]}MC31")
        if letter == "A" and not {"BLUT.RAM"} <= self.flags:
            raise RecoveryError(
                f"{self.site}.ALUT: its data must come from a memory beside it, and none is there"
            )
        return self._data({"A": "B", "B": "D", "C": "D"}[letter], False)

    def _clock(self) -> str:
        clock = self._pin("CLK")
        return f"~{clock}" if "CLKINV" in self.flags else clock

    def _flip_flop(self, letter: str, which: str, name: str) -> None:
        if "LATCH" in self.flags and not which:
            raise RecoveryError(f"{self.site}.{letter}FF: must be a flip-flop, not a latch")
        cell = f"{letter}{which}FF"
        if which:
            source = {"IN_A": "O5", "IN_B": f"{letter}X"}[self._choice(f"{letter}5FFMUX")]
        else:
            source = self._choice(f"{letter}FFMUX")
        to_zero = f"{cell}.ZRST" in self.flags
        synchronous = "FFSYNC" in self.flags
        kind, reset = {
            (True, True): ("FDRE", "R"),
            (True, False): ("FDSE", "S"),
            (False, True): ("FDCE", "CLR"),
            (False, False): ("FDPE", "PRE"),
        }[synchronous, to_zero]
        ports = {
            "C": self._clock(),
            "CE": self._pin("CE") if "CEUSEDMUX" in self.flags else "1'b1",
            "D": self._through(letter, source),
            reset: self._pin("SR") if "SRUSEDMUX" in self.flags else "1'b0",
            "Q": self.netlist.declare(f"{self.site}_{name}"),
        }
        init = "1'b0" if f"{cell}.ZINI" in self.flags else "1'b1"
        self.netlist.instance(kind, f"{self.site}_{cell}", {"INIT": init}, ports)
