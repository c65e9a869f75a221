"""The schedules, by name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from webui.extensions.a1111.host import current


@dataclass
class Scheduler:
    """A way to space noise levels."""

    name: str
    label: str
    function: Any = None
    default_rho: float = -1
    need_inner_model: bool = False
    aliases: Any = None


schedulers = [
    Scheduler(one.name, one.label, aliases=list(one.spellings)) for one in current().names.schedules
]
schedulers_map = {
    word: one for one in schedulers for word in (one.name, one.label, *(one.aliases or ()))
}
