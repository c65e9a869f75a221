"""From the tensors of a LoRA file to one change for each layer it names."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Hashable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from torch import Tensor

from webui.networks.lora.changes import LayerChange, read_change
from webui.networks.lora.names import plain

logger = logging.getLogger(__name__)

ENDINGS: Final[Mapping[str, str]] = {
    "lora_up.weight": "up", "lora_down.weight": "down", "lora_mid.weight": "mid",
    "lora_B.weight": "up", "lora_A.weight": "down",
    "lora.up.weight": "up", "lora.down.weight": "down",
    "lora_linear_layer.up.weight": "up", "lora_linear_layer.down.weight": "down",
    "lora_magnitude_vector": "dora_scale", "lora_magnitude_vector.weight": "dora_scale",
    "weight": "weight",
    **{name: name for name in (
        "alpha", "scale", "dora_scale", "diff", "diff_b", "set_weight", "w_norm", "b_norm",
        "hada_w1_a", "hada_w1_b", "hada_w2_a", "hada_w2_b", "hada_t1", "hada_t2",
        "lokr_w1", "lokr_w1_a", "lokr_w1_b", "lokr_w2", "lokr_w2_a", "lokr_w2_b", "lokr_t2",
        "on_input", "oft_blocks", "oft_diag", "rescale",
    )},
    **{f"{name}.weight": name for name in ("a1", "a2", "b1", "b2")},
}  # fmt: skip
"""How tensors end → what they are, in ``changes.read_change``'s words."""

_KEY: Final = re.compile(
    "(?P<layer>.+?)[._](?P<ending>" + "|".join(re.escape(e) for e in ENDINGS) + ")$"
)
_BUNDLED: Final = re.compile(r"bundle_emb\.(?P<name>.+?)\.[^.]+(?:\.[^.]+)?$")
_SHOWN: Final = 3


@dataclass(frozen=True, eq=False)
class LoraFile:
    """A file of the LoRA family, read. Two are equal only if they are one object.

    Attributes:
        key: Stands for its content: two files with equal keys are the same.
        name: For messages.
        layers: Layer name as in the file, in ``names.plain`` form → its change.
        unknown: Names of tensors that belong to no known format.
        embeddings: Words whose textual inversion is bundled in it.
        family: What it was made for: ``sd1``, ``sdxl`` …; "" when the file does not say.
    """

    key: Hashable
    name: str
    layers: Mapping[str, LayerChange]
    unknown: tuple[str, ...] = ()
    embeddings: tuple[str, ...] = ()
    family: str = ""


def read_layers(
    tensors: Mapping[str, Tensor],
    *,
    key: Hashable,
    name: str,
    metadata: Mapping[str, str] | None = None,
    adapter_config: Mapping[str, Any] | None = None,
    family: str = "",
) -> LoraFile:
    """Sort the tensors of a file by layer and make out each layer's format.

    Args:
        tensors: By their names in the file; kept, not copied.
        key, name, family: See ``LoraFile``.
        metadata: Of the file's header; diffusers tells PEFT's alpha there.
        adapter_config: PEFT's ``adapter_config.json``, when the file came with one.
    """
    grouped: dict[str, dict[str, Tensor]] = {}
    sources: dict[str, list[str]] = {}
    unknown: list[str] = []
    embeddings: dict[str, None] = {}
    for original, tensor in tensors.items():
        bundled = _BUNDLED.match(original)
        found = _KEY.match(original.replace(".default", ""))
        if bundled:
            embeddings[bundled["name"]] = None
        elif found:
            grouped.setdefault(found["layer"], {})[ENDINGS[found["ending"]]] = tensor
            sources.setdefault(found["layer"], []).append(original)
        else:
            unknown.append(original)
    factor_of = _usual_factors(metadata or {}, adapter_config or {})
    layers: dict[str, LayerChange] = {}
    for layer, parts in grouped.items():
        rank = parts["down"].shape[0] if "down" in parts and parts["down"].ndim else 0
        change = read_change(parts, factor_of(layer, rank))
        if change is None:
            unknown.extend(sources[layer])
        else:
            layers[plain(layer)] = change
    return LoraFile(key, name, layers, tuple(unknown), tuple(embeddings), family)


def some(names: Iterable[str]) -> str:
    """A few names for a message."""
    listed = list(names)
    return ", ".join(listed[:_SHOWN]) + (" …" if len(listed) > _SHOWN else "")


def _usual_factors(
    metadata: Mapping[str, str], adapter_config: Mapping[str, Any]
) -> Callable[[str, int], float | None]:
    """PEFT's alpha / rank for a layer, where the file states it apart from its tensors."""
    stated: dict[str, Any] = {}
    try:
        stated = json.loads(metadata.get("lora_adapter_metadata", "{}"))
    except ValueError:
        logger.warning("The adapter metadata of a LoRA is not readable; alpha is taken as rank.")
    if not isinstance(stated, dict):
        stated = {}
    stated = {**adapter_config, **stated}

    def factor(layer: str, rank: int) -> float | None:
        part = layer.partition(".")[0]
        get = lambda what: stated.get(f"{part}.{what}", stated.get(what))  # noqa: E731
        alpha = next(
            (a for end, a in (get("alpha_pattern") or {}).items() if layer.endswith(end)),
            get("lora_alpha"),
        )
        if not rank or not isinstance(alpha, int | float):
            return None
        return float(alpha) / (rank**0.5 if get("use_rslora") else rank)

    return factor
