"""How fast the driver and the service are, each beside something else that does the same."""
