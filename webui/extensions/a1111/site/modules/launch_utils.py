"""The older and newer name of ``launch``."""

from __future__ import annotations

import importlib
import sys

sys.modules[__name__] = importlib.import_module("launch")
