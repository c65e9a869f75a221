"""Danqing (丹青) WebUI: a painting studio in the browser."""

__version__ = "0.1.0"
PROGRAM_VERSION = f"Danqing {__version__}"
"""What recipes say under «Version». Must not parse as a version number: other programs would take
0.x for a very old A1111 and switch to its old behaviour."""
