"""From the integer graph to a network of streaming layers: folding, timing, FIFO depths and resources."""
