"""How a new server group takes over: one module for each way, all of them pure."""
