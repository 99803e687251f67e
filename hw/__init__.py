"""From a network of integers to hardware: graph, simulator, bundle, accelerator, and the tools that make and check it.

The graph, the simulator, bundles and an accelerator's dataflow need NumPy only, and Python 3.8. Workstations have the
rest: `finn` needs FINN, `dataflow.folding` SciPy, `report` Jinja and Matplotlib, `rtl`, `bitstream` and `tools` Python
3.11 and what they run.
"""
