"""The older name of ``infotext_utils``."""

from __future__ import annotations

import sys

from . import infotext_utils

sys.modules[__name__] = infotext_utils
