"""Settings, as A1111 1.7 and later name them."""

from __future__ import annotations

from webui.extensions.a1111.options import OptionHTML, OptionInfo, options_section
from webui.extensions.a1111.options import ScriptOptions as Options

__all__ = ["OptionHTML", "OptionInfo", "Options", "options_section"]
