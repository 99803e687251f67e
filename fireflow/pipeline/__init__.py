"""What joins `quant`, `hw` and `host`: each step from weights to a board as a function that prints nothing."""
