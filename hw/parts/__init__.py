"""Parts, boards and what differs between families of them."""
