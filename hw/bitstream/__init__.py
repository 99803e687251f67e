"""From the RTL of an accelerator to a bitstream: steps that can be interrupted, and checks that refuse a wrong one."""
