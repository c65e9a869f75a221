"""How the U-Net is called: whole, or by something that stands in between.

What stands in between (tiles, a way out when memory is short) takes the network's whole input,
extra channels of inpainting checkpoints included, and gives its whole output. Guidance, masks and
samplers therefore never notice it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.pipelines.encoding import Encoding


@dataclass(frozen=True)
class Added:
    """What is added to a U-Net's features: along its way down, each (N, C, h, w), and in its
    middle."""

    down: tuple[Tensor, ...]
    middle: Tensor

    def __add__(self, other: Added) -> Added:
        down = tuple(a + b for a, b in zip(self.down, other.down, strict=True))
        return Added(down, self.middle + other.middle)


class NetworkCall(Protocol):
    """One evaluation of a model's U-Net."""

    def __call__(
        self,
        model: LoadedModel,
        inputs: Tensor,
        timesteps: Tensor,
        context: Encoding,
        stop_if_asked: Callable[[], None],
        /,
    ) -> Tensor:
        """Evaluate the network.

        Args:
            model: Whose U-Net.
            inputs: (N, C, h, w) scaled latents, then any channels the checkpoint is shown beside
                them; in the model's number format.
            timesteps: (N,) float32.
            context: N encoded prompts.
            stop_if_asked: Raises ``Interrupted``; to be called between parts of the work.
        Returns:
            (N, 4, h, w), in the model's number format.
        """
        ...


def call_network(
    model: LoadedModel,
    inputs: Tensor,
    timesteps: Tensor,
    context: Encoding,
    stop_if_asked: Callable[[], None],
    added: Added | None = None,
) -> Tensor:
    """Evaluate the U-Net on everything at once; see ``NetworkCall``.

    Args:
        added: What ControlNets add inside.
    """
    more = told_beside(context)
    if added is not None:
        more["down_block_additional_residuals"] = added.down
        more["mid_block_additional_residual"] = added.middle
    return model.unet(
        inputs, timesteps, encoder_hidden_states=context.states, return_dict=False, **more
    )[0]


def told_beside(context: Encoding) -> dict[str, Any]:
    """What a network of SDXL's is told beside the text, as diffusers names it."""
    if context.vector is None:
        return {}
    return {"added_cond_kwargs": {"text_embeds": context.vector, "time_ids": context.numbers}}
