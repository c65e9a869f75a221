"""Which pictures are painted while training: kohya's prompt files; no torch.

Source: lora-training.md, section 3.12.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from webui.errors import ParamsError
from webui.params.training import TrainingOptions
from webui.training.written import read_text, read_values

SAMPLERS: Final = {
    "ddim": "DDIM", "pndm": "PLMS", "lms": "LMS", "euler": "Euler", "euler_a": "Euler a",
    "heun": "Heun", "dpm_2": "DPM2", "dpm_2_a": "DPM2 a", "dpmsolver": "DPM++ 2M",
    "dpmsolver++": "DPM++ 2M", "dpmsingle": "DPM++ 2S a",
}  # fmt: skip
"""kohya's word (``k_`` forms mean the same) → ours."""
_OPTION: Final = re.compile(r"\s--([a-zA-Z]+)\s+")
_NAMES: Final = {
    "prompt": "prompt", "negative_prompt": "negative_prompt", "width": "width",
    "height": "height", "seed": "seed", "scale": "cfg_scale", "sample_steps": "steps",
    "sample_sampler": "sampler",
}  # fmt: skip
_WORDS: Final = {
    "n": "negative_prompt", "w": "width", "h": "height", "d": "seed", "l": "scale",
    "s": "sample_steps", "ss": "sample_sampler",
}  # fmt: skip
_IGNORED: Final = ("g", "cn")
FIELD: Final = "sample_prompts"
MOST_SEED: Final = 2**32 - 1


@dataclass(frozen=True)
class SamplePrompt:
    """One picture.

    Attributes:
        seed: None = drawn. sampler: kohya's word; "" = the training's.
        weight: Of the LoRA.
    """

    prompt: str
    negative_prompt: str = ""
    width: int = 512
    height: int = 512
    seed: int | None = None
    cfg_scale: float = 7.5
    steps: int = 30
    sampler: str = ""
    weight: float = 1.0


def pictures_of(options: TrainingOptions) -> list[SamplePrompt]:
    """The pictures of one painting in the order of their files: each prompt at every weight.

    Every prompt has a seed: its own, or one that stays the same over all epochs.

    Raises:
        ParamsError: As ``read_prompts``.
    """
    asked = read_prompts(options.sample_prompts) if options.sample_prompts else []
    weights = options.sample_weights or (1.0,)
    seeded = [_seeded(prompt, options.seed or 0, at) for at, prompt in enumerate(asked)]
    return [replace(prompt, weight=weight) for prompt in seeded for weight in weights]


def _seeded(prompt: SamplePrompt, seed: int, index: int) -> SamplePrompt:
    if prompt.seed is not None:
        return prompt
    return replace(prompt, seed=random.Random(f"{seed}/{index}").randrange(MOST_SEED))


def sampler_word(sampler: str) -> str:
    """A key of ``SAMPLERS``.

    Raises:
        ParamsError: There is none of this name.
    """
    word = re.sub(r"^k_", "", sampler.lower())
    if word not in SAMPLERS:
        raise ParamsError(
            f'sample_sampler: "{sampler}" is unknown.',
            f"Choose one of {', '.join(SAMPLERS)}.",
            field="sample_sampler",
        )
    return word


def names_a_file(given: str) -> bool:
    """True when prompts are given as a file, not as the lines themselves."""
    return given.rstrip().lower().endswith((".txt", ".toml", ".json")) and "\n" not in given


def read_prompts(given: str) -> list[SamplePrompt]:
    """The pictures that are asked for.

    Args:
        given: A ``.txt``, ``.toml`` or ``.json`` file, or the lines themselves.
    Raises:
        ParamsError: The file is missing, empty or not readable; an unknown ``--x`` in a line.
    """
    if not names_a_file(given):
        return _required(_lines(given))
    path = Path(given.strip())
    if path.suffix.lower() == ".txt":
        return _required(_lines(read_text(path, FIELD)))
    return _required(_stored(read_values(path, FIELD)))


def _required(found: list[SamplePrompt]) -> list[SamplePrompt]:
    if not found:
        raise ParamsError("sample_prompts: there is no prompt in it.", field=FIELD)
    return found


def _lines(text: str) -> list[SamplePrompt]:
    lines = (line.strip() for line in text.splitlines())
    return [_line(line) for line in lines if line and not line.startswith("#")]


def _line(line: str) -> SamplePrompt:
    prompt, *options = _OPTION.split(f"{line} ")
    values: dict[str, Any] = {"prompt": prompt.strip()}
    for word, value in zip(options[::2], options[1::2], strict=True):
        name = _WORDS.get(word.lower())
        if name is None and word.lower() not in _IGNORED:
            raise ParamsError(
                f'sample_prompts: "--{word}" in the line "{line}" is unknown.',
                f"Known: {', '.join(f'--{w}' for w in _WORDS)}.",
                field=FIELD,
            )
        if name is not None:
            values[name] = value.strip()
    return _made(values)


def _stored(stored: Any) -> list[SamplePrompt]:
    if isinstance(stored, Mapping):
        common = stored.get("prompt", {})
        common = dict(common) if isinstance(common, Mapping) else {}
        listed = common.pop("subset", stored.get("subset", []))
        listed = listed if isinstance(listed, list) else [listed]
        stored = [{**common, **one} if isinstance(one, Mapping) else one for one in listed]
        stored = stored or ([common] if common else [])
    if not isinstance(stored, list):
        raise ParamsError("sample_prompts: there is no list of prompts in it.", field=FIELD)
    return [_line(one) if isinstance(one, str) else _made(one) for one in stored]


def _made(values: Any) -> SamplePrompt:
    if not isinstance(values, Mapping):
        raise ParamsError(f"sample_prompts: {values!r} is no prompt.", field=FIELD)
    made = SamplePrompt(str(values.get("prompt", "")))
    for name, value in values.items():
        field = _NAMES.get(name)
        if field is None:
            raise ParamsError(f'sample_prompts: "{name}" is unknown.', field=FIELD)
        kind = {"cfg_scale": float, "steps": int, "width": int, "height": int, "seed": int}
        try:
            made = replace(made, **{field: kind.get(field, str)(value)})
        except (ValueError, TypeError) as err:
            raise ParamsError(
                f'sample_prompts: {name} "{value}" is not a number.', field=FIELD
            ) from err
    sampler = made.sampler.lower().removeprefix("k_")
    if sampler and sampler not in SAMPLERS:
        raise ParamsError(
            f'sample_prompts: the sampler "{made.sampler}" is unknown.',
            f"Choose one of {', '.join(SAMPLERS)}.",
            field=FIELD,
        )
    return replace(
        made,
        width=max(64, made.width // 8 * 8),
        height=max(64, made.height // 8 * 8),
        steps=min(1000, max(1, made.steps)),
        sampler=sampler,
    )
