"""How fast simulation and training are, each beside other ways to the same numbers."""
