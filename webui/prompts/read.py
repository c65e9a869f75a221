"""The whole prompt language in one call: from two texts to what the pipelines paint.

    networks cut ─► AND parts ─► each scheduled        (positive)
                                 scheduled             (negative)

What is left for the pipeline is per text: :func:`webui.prompts.attention.weigh`, then
:func:`webui.prompts.chunks.chunk_prompt`.
"""

from __future__ import annotations

from dataclasses import dataclass

from webui.errors import ParamsError
from webui.prompts.attention import Piece, weigh
from webui.prompts.composition import split_and
from webui.prompts.networks import NetworkMention, cut_networks
from webui.prompts.schedule import Schedule, schedule_prompt

EMPHASIS_MODES = ("None", "Ignore", "Original", "No norm")


@dataclass(frozen=True)
class PromptPart:
    """One side of AND.

    Attributes:
        weight: Its share in the guidance: denoised = u + sum(weight * cfg_scale * (c - u)).
        schedule: The texts it goes through, ``[(end_step, text), …]``.
    """

    weight: float
    schedule: Schedule


@dataclass(frozen=True)
class ReadPrompt:
    """A prompt pair, read.

    Attributes:
        positive: One part at least.
        negative: Schedule of the negative prompt.
        networks: Tags of the positive prompt, in order.
        emphasis: How weights act: Original, No norm, Ignore or None.
    """

    positive: tuple[PromptPart, ...]
    negative: Schedule
    networks: tuple[NetworkMention, ...]
    emphasis: str = "Original"

    def pieces(self, text: str) -> list[Piece]:
        """Weighted pieces of one of the scheduled texts, under this prompt's emphasis mode."""
        return weigh(text, self.emphasis)

    @property
    def texts(self) -> list[str]:
        """Every text that has to be encoded, each once."""
        schedules = [*(part.schedule for part in self.positive), self.negative]
        return list(dict.fromkeys(text for schedule in schedules for _, text in schedule))


def read_prompt(
    text: str,
    negative: str = "",
    *,
    steps: int,
    hires_steps: int | None = None,
    emphasis: str = "Original",
    old_timelines: bool = False,
) -> ReadPrompt:
    """Read a prompt pair for one pass.

    Args:
        text: Positive prompt, with styles applied and comments cut.
        negative: Negative prompt, likewise. AND and network tags mean nothing in it.
        steps: Steps of the first pass as the sampler counts them (second-order: twice), >= 1.
        hires_steps: Steps of the hires pass when this is that pass, likewise counted.
        emphasis: One of ``EMPHASIS_MODES``.
        old_timelines: Count edits as before A1111 1.6.
    Raises:
        ParamsError: An unknown emphasis mode.
    """
    if emphasis not in EMPHASIS_MODES:
        raise ParamsError(
            f"No emphasis mode named {emphasis!r}.",
            f"Use one of {', '.join(EMPHASIS_MODES)}.",
            field="emphasis",
        )
    text, networks = cut_networks(text)

    def scheduled(part: str) -> Schedule:
        return schedule_prompt(part, steps, hires_steps, old_timelines)

    positive = tuple(PromptPart(weight, scheduled(part)) for part, weight in split_and(text))
    return ReadPrompt(positive, scheduled(negative), tuple(networks), emphasis)
