"""What requests carry for extensions."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

ExtensionValues = dict[str, dict[str, bool | int | float | str]]
"""Extension → field → value, of the extensions that act on a job; checked against their forms
before they get here. A picture is its key."""
_KEY = re.compile(r"[0-9a-f]{64}")


def picture_keys(extensions: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """Input pictures among the values."""
    for values in extensions.values():
        yield from (v for v in values.values() if isinstance(v, str) and _KEY.fullmatch(v))
