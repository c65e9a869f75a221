"""Start-up flags."""

from __future__ import annotations

from .shared import cmd_opts

__all__ = ["cmd_opts"]
