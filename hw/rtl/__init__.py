"""Verilog of an accelerator: layers stitched together, the shell around them, simulation, counting."""
