"""How many models stay in memory, from A1111's options."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol


class _Options(Protocol):
    def __getitem__(self, key: str, /) -> Any: ...


def memory_limits(options: _Options) -> Mapping[str, Any]:
    """What the model process is told at each job; see ``loaded_models.LoadedModels.begin``.

    ``sd_checkpoint_cache`` is A1111's older option: so many more in main memory, besides the
    limited number. A limit of 0 leaves it to the memory there is.
    """
    limit = int(options["sd_checkpoints_limit"] or 0)
    more = int(options["sd_checkpoint_cache"] or 0)
    return {
        "checkpoints": limit + more if limit else 0,
        "vaes": int(options["sd_vae_checkpoint_cache"] or 0),
        "idle_stay_on_device": not options["sd_checkpoints_keep_in_cpu"],
    }
