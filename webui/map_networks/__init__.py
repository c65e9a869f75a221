"""Networks that make maps for ControlNets."""
