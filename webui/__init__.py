"""Danqing (丹青) WebUI: a painting studio in the browser."""

__version__ = "0.1.0"
