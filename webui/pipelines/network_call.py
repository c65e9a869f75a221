"""How the U-Net is called: whole, or by something that stands in between.

What stands in between (tiles, a way out when memory is short) takes the network's whole input,
extra channels of inpainting checkpoints included, and gives its whole output. Guidance, masks and
samplers therefore never notice it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.pipelines.encoding import Encoding


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
) -> Tensor:
    """Evaluate the U-Net on everything at once; see ``NetworkCall``."""
    more = {}
    if context.vector is not None:
        more = {"added_cond_kwargs": {"text_embeds": context.vector, "time_ids": context.numbers}}
    return model.unet(
        inputs, timesteps, encoder_hidden_states=context.states, return_dict=False, **more
    )[0]
