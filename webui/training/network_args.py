"""``network_args``: what is told to the LoRA beyond rank and alpha, as text.

Source: lora-training.md, section 3.10.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from webui.errors import ParamsError
from webui.params.training import NetworkOptions

DEFAULT_DIM: Final = 4
BLOCKS: Final = {"sd1": 25, "sd2": 25, "sdxl": 23}
SIDES: Final = {"sd1": (12, 1, 12), "sd2": (12, 1, 12), "sdxl": (9, 3, 9)}
"""Blocks of the U-Net: down, middle, up."""
CURVES: Final = ("cosine", "sine", "linear", "reverse_linear", "zeros")
_ORIGINAL: Final = re.compile(r"(input_blocks|middle_block|output_blocks)\.(\d+)")

LYCORIS: Final = "lycoris.kohya"
ALGOS: Final = (
    "lora", "locon", "loha", "lokr", "ia3", "dylora", "glora", "full", "diag-oft", "boft",
)  # fmt: skip
LYCORIS_FLAGS: Final = {
    "use_tucker", "use_scalar", "decompose_both", "full_matrix", "dora_wd", "rs_lora",
    "bypass_mode", "rank_dropout_scale", "unbalanced_factorization", "wd_on_output", "rescaled",
}  # fmt: skip
LYCORIS_NUMBERS: Final = {
    "factor", "block_size", "dropout", "rank_dropout", "module_dropout", "constraint",
}  # fmt: skip
LYCORIS_OLD_NAMES: Final = {"use_cp": "use_tucker", "use_conv_cp": "use_tucker"}
LYCORIS_OWN_NAMES: Final = {"dora_wd": "weight_decompose", "wd_on_output": "wd_on_out"}
"""Arguments that its layers take under another name."""
NORMS: Final = "train_norm"


@dataclass(frozen=True)
class Region:
    """Which layers one of LyCORIS' presets trains.

    Attributes:
        unet, text: Found in a layer's path; "" = none of that network.
        has_kernels: Convolutions over more than one place, too.
        names: Layers of the U-Net outside of its blocks.
    """

    unet: str
    text: str = r"(^|\.)(self_attn|mlp)\."
    has_kernels: bool = False
    names: tuple[str, ...] = ()


_TRANSFORMERS: Final = r"(^|\.)attentions\."
_RESIDUAL: Final = r"(^|\.)(resnets|downsamplers|upsamplers)\."
_TIMES: Final = ("time_embedding.linear_1", "time_embedding.linear_2")
PRESETS: Final = {
    "full": Region(
        rf"{_TRANSFORMERS}|{_RESIDUAL}", has_kernels=True, names=("conv_in", "conv_out", *_TIMES)
    ),
    "full-lin": Region(rf"{_TRANSFORMERS}|(^|\.)resnets\.", names=_TIMES),
    "attn-mlp": Region(_TRANSFORMERS),
    "attn-only": Region(r"\.attn[12]\.", r"(^|\.)self_attn\."),
    "unet-transformer-only": Region(_TRANSFORMERS, ""),
    "unet-convblock-only": Region(_RESIDUAL, "", has_kernels=True),
    "ia3": Region(r"(to_k|to_v|ff\.net\.2)$", r"(k_proj|v_proj|mlp\.fc2)$"),
}
PRESETS["unet-only"] = replace(PRESETS["full"], text="")
"""Source: LyCORIS' documents of its presets."""

_NUMBERS: Final = {
    "conv_alpha", "rank_dropout", "module_dropout", "loraplus_lr_ratio",
    "loraplus_unet_lr_ratio", "loraplus_text_encoder_lr_ratio", "block_lr_zero_threshold",
}  # fmt: skip
_WHOLE: Final = {"conv_dim"}
_LISTS: Final = {"block_dims", "block_alphas", "conv_block_dims", "conv_block_alphas"}
_WEIGHTS: Final = {"down_lr_weight", "mid_lr_weight", "up_lr_weight"}


def split_pairs(texts: Sequence[str], field: str) -> dict[str, str]:
    """``key=value`` texts as a dict.

    Raises:
        ParamsError: One of them has no "=".
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ParamsError(
                f'{field}: "{text}" is not of the form name=value.',
                'For example: ["conv_dim=8"].',
                field=field,
            )
        found[key.strip()] = value.strip().strip("'\"")
    return found


def read_literals(texts: tuple[str, ...], field: str) -> dict[str, Any]:
    """``name=value`` texts whose values are Python literals; ``0.9,0.99`` is a pair.

    Raises:
        ParamsError: A value is none; text must stand in quotation marks.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, value = next(iter(split_pairs([text], field).items()))
        value = text.partition("=")[2].strip()
        try:
            found[name] = ast.literal_eval(value)
        except (ValueError, SyntaxError) as err:
            raise ParamsError(
                f'{field}: the value of "{text}" cannot be read.',
                "Write a number, True, False, None, or text in quotation marks.",
                field=field,
            ) from err
    return found


def nearest(word: str, known: Collection[str]) -> str:
    """ " Did you mean …?" with the known word that is most like it, or ''."""
    close = difflib.get_close_matches(word, sorted(known), 1)
    return f' Did you mean "{close[0]}"?' if close else ""


@dataclass(frozen=True)
class NetworkArgs:
    """How a LoRA is built.

    Attributes:
        conv_dim: Rank of 3×3 convolutions; None = they are not trained.
        block_dims …: One number a block, see ``BlockPlan``.
        loraplus: Part → how many times the rate of the upper matrices is.
        rate_weights: Side (``down``, ``mid``, ``up``) → the list or curve as written.
        algo: Kind of LyCORIS layer; "" = plain LoRA. more: Arguments for it.
        preset: A key of ``PRESETS``; "" = the layers of a plain LoRA.
    """

    dim: int = DEFAULT_DIM
    alpha: float = 1.0
    conv_dim: int | None = None
    conv_alpha: float = 1.0
    rank_dropout: float = 0.0
    module_dropout: float = 0.0
    block_dims: tuple[int, ...] | None = None
    block_alphas: tuple[float, ...] | None = None
    conv_block_dims: tuple[int, ...] | None = None
    conv_block_alphas: tuple[float, ...] | None = None
    loraplus: dict[str, float] | None = None
    rate_weights: dict[str, str] | None = None
    zero_threshold: float = 0.0
    algo: str = ""
    more: dict[str, Any] | None = None
    preset: str = ""

    def up_ratio(self, part: str) -> float:
        """LoRA+: how many times faster the upper matrices of a part learn."""
        ratios = self.loraplus or {}
        return ratios.get(part, ratios.get("", 1.0))


def read_network_args(options: NetworkOptions) -> NetworkArgs:
    """Read the options of ``networks.lora``.

    Raises:
        ParamsError: An unknown name, or a value that cannot be read.
    """
    pairs = split_pairs(options.network_args, "network_args")
    if options.network_module == LYCORIS:
        return _read_lycoris(pairs, options)
    known = {*_NUMBERS, *_WHOLE, *_LISTS, *_WEIGHTS}
    for key in pairs:
        if key not in known:
            raise ParamsError(
                f'network_args: "{key}" is unknown to networks.lora.{nearest(key, known)}',
                f"Known: {', '.join(sorted(known))}.",
                field="network_args",
            )
    values: dict[str, Any] = {k: _number(k, v) for k, v in pairs.items() if k in _NUMBERS}
    values |= {k: _whole(k, v) for k, v in pairs.items() if k in _WHOLE}
    for key in _LISTS & pairs.keys():
        read = _whole if key.endswith("dims") else _number
        values[key] = tuple(read(key, part) for part in pairs[key].split(","))
    dim = options.network_dim or DEFAULT_DIM
    ratios = {
        part: values.pop(f"loraplus_{name}lr_ratio")
        for part, name in (("", ""), ("unet", "unet_"), ("text", "text_encoder_"))
        if f"loraplus_{name}lr_ratio" in values
    }
    weights = {key.removesuffix("_lr_weight"): pairs[key] for key in _WEIGHTS & pairs.keys()}
    return NetworkArgs(
        dim=dim,
        alpha=options.network_alpha or dim,
        zero_threshold=values.pop("block_lr_zero_threshold", 0.0),
        loraplus=ratios or None,
        rate_weights=weights or None,
        **values,
    )


def _read_lycoris(pairs: dict[str, str], options: NetworkOptions) -> NetworkArgs:
    """The options of ``lycoris.kohya``; the preset says which layers are trained."""
    pairs = {LYCORIS_OLD_NAMES.get(key, key): value for key, value in pairs.items()}
    if _is_yes(pairs.pop(NORMS, "")):
        raise ParamsError(
            f"network_args: {NORMS} is not possible here: layers that only scale are not trained.",
            f"Leave {NORMS} out.",
            field="network_args",
        )
    known = {"algo", "preset", "conv_dim", "conv_alpha", *LYCORIS_FLAGS, *LYCORIS_NUMBERS}
    for key in pairs:
        if key not in known:
            raise ParamsError(
                f'network_args: "{key}" is unknown to lycoris.kohya.{nearest(key, known)}',
                f"Known: {', '.join(sorted(known))}.",
                field="network_args",
            )
    algo, preset = pairs.get("algo", "lora").lower(), pairs.get("preset", "full")
    for name, value, choices in (("algo", algo, ALGOS), ("preset", preset, PRESETS)):
        if value not in choices:
            raise ParamsError(
                f'network_args: {name} "{value}" is unknown.{nearest(value, choices)}',
                f"Choose one of {', '.join(choices)}.",
                field="network_args",
            )
    dim = options.network_dim or DEFAULT_DIM
    alpha = options.network_alpha or dim
    conv_dim = _whole("conv_dim", pairs.get("conv_dim", str(dim)))
    more: dict[str, Any] = {key: _is_yes(pairs[key]) for key in LYCORIS_FLAGS & pairs.keys()}
    for key in LYCORIS_NUMBERS & pairs.keys():
        read = _signed if key in ("factor", "block_size") else _number
        more[key] = read(key, pairs[key])
    if options.network_dropout:
        more.setdefault("dropout", options.network_dropout)
    more = {LYCORIS_OWN_NAMES.get(key, key): value for key, value in more.items()}
    return NetworkArgs(
        dim=dim,
        alpha=alpha,
        conv_dim=conv_dim if PRESETS[preset].has_kernels else None,
        conv_alpha=_number("conv_alpha", pairs.get("conv_alpha", str(alpha))),
        algo=algo,
        more=more,
        preset=preset,
    )


def _is_yes(text: str) -> bool:
    return text.lower() in ("true", "1", "yes")


def _signed(key: str, text: str) -> int:
    return int(_number(key, text))


def _number(key: str, text: str) -> float:
    try:
        number = float(text)
        if math.isfinite(number):
            return number
    except ValueError:
        pass
    raise ParamsError(f'network_args: {key}="{text}" is not a number.', field="network_args")


def _whole(key: str, text: str) -> int:
    number = _number(key, text)
    if number != int(number) or number < 0:
        raise ParamsError(
            f'network_args: {key}="{text}" must be a whole number of at least 0.',
            field="network_args",
        )
    return int(number)


class BlockPlan:
    """Ranks and rates for single blocks of the U-Net.

    Blocks count down, middle, up: 25 for SD 1.x; for SDXL 23, of which the first and the last
    hold no layer of a LoRA.

    Args:
        family: ``sd1``, ``sd2`` or ``sdxl``.
    Raises:
        ParamsError: A list has not as many numbers as there are blocks, or a curve is unknown.
    """

    def __init__(self, args: NetworkArgs, family: str) -> None:
        self._is_sdxl = family == "sdxl"
        self._count = BLOCKS.get(family, 25)
        self._threshold = args.zero_threshold
        for name in sorted(_LISTS):
            values = getattr(args, name)
            if values is not None and len(values) != self._count:
                raise ParamsError(
                    f"network_args: {name} has {len(values)} numbers; "
                    f"{self._count} are needed, one for each block.",
                    field="network_args",
                )
        self._rates = self._read_rates(args.rate_weights, SIDES.get(family, (12, 1, 12)))

    def _read_rates(
        self, weights: dict[str, str] | None, sides: tuple[int, int, int]
    ) -> list[float] | None:
        if weights is None:
            return None
        rates: list[float] = []
        for side, count in zip(("down", "mid", "up"), sides, strict=True):
            text = weights.get(side)
            rates += [1.0] * count if text is None else side_weights(side, text, count)
        return [1.0, *rates, 1.0] if self._is_sdxl else rates

    def of(self, original: str) -> int | None:
        """The number of a layer's block, by its name in the original checkpoints."""
        match = _ORIGINAL.match(original)
        if match is None:
            return None
        place = int(match[2])
        if self._is_sdxl:
            first = {"input_blocks": 1, "middle_block": 10, "output_blocks": 13}[match[1]]
            return first + place
        return {"input_blocks": place, "middle_block": 12, "output_blocks": 13 + place}[match[1]]

    def rate(self, block: int | None) -> float:
        """What the learning rate of a block is multiplied by."""
        return 1.0 if self._rates is None or block is None else self._rates[block]

    def is_left_out(self, block: int) -> bool:
        """Whether a block is not trained at all."""
        return self._rates is not None and self._rates[block] <= self._threshold


def side_weights(side: str, text: str, count: int) -> list[float]:
    """Weights of one side's blocks from a list, or a curve such as ``cosine+0.25``.

    Args:
        side: ``down``, ``mid`` or ``up``, for messages.
    Source:
        kohya's block-wise rates: curves run from the outer blocks to the middle.
    """
    name, _, base = text.partition("+")
    if name.strip() in CURVES:
        offset = _number(f"{side}_lr_weight", base) if base else 0.0
        places = [i / max(1, count - 1) for i in range(count)]
        curve = {
            "cosine": lambda x: math.cos(math.pi / 2 * x),
            "sine": lambda x: math.sin(math.pi / 2 * x),
            "linear": lambda x: x,
            "reverse_linear": lambda x: 1 - x,
            "zeros": lambda x: 0.0,
        }[name.strip()]
        return [curve(x) + offset for x in places]
    numbers = [_number(f"{side}_lr_weight", part) for part in text.split(",")]
    if len(numbers) != count:
        raise ParamsError(
            f"network_args: {side}_lr_weight has {len(numbers)} numbers; {count} are needed.",
            f"Or write one of {', '.join(CURVES)}.",
            field="network_args",
        )
    return numbers
