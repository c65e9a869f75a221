"""Feed each result back in as the next input; the strength follows a curve from loop to loop."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator
from dataclasses import replace
from typing import Any

from PIL import Image

from webui.params import DrawnTexts, ImageToImage, Loopback
from webui.pipelines.image_to_image import ImageToImageRun
from webui.pipelines.painting import PaintingRun
from webui.pipelines.supplied import WithPictures
from webui.pipelines.supplies import Listener, Picture, Supplies


def loop_strength(loopback: Loopback, first: float, loop: int) -> float:
    """Denoising strength of one loop.

    Args:
        first: Strength of the first loop, the request's own.
        loop: From 0.
    Source:
        A1111's loopback script: the way from ``first`` to the final strength is a quarter of a
        sine (Aggressive: soon there), of an inverted cosine (Lazy: late), or straight.
    """
    if loopback.loops == 1:
        return first
    done = loop / (loopback.loops - 1)
    if loopback.curve == "Aggressive":
        done = math.sin(done * math.pi / 2)
    elif loopback.curve == "Lazy":
        done = 1 - math.cos(done * math.pi / 2)
    return first + (loopback.final_denoising_strength - first) * done


class LoopbackRun(PaintingRun[ImageToImage]):
    """One img2img request with ``loopback``.

    A chain is ``loops`` rounds, of which each begins with the results of the one before; there
    are ``batch_count`` chains. Every round is a batch of its own to whoever waits: pictures are
    numbered, and seeds rise, by round.

    With an interrogation the prompt of each picture is the request's, and behind it what the
    picture shows that its round begins with.
    """

    def __init__(self, params: ImageToImage, supplies: Supplies, listener: Listener) -> None:
        assert params.loopback is not None
        self._loopback = params.loopback
        rounds = params.batch_count * params.loopback.loops
        plain = params.model_copy(update={"batch_count": rounds, "loopback": None})
        super().__init__(plain, supplies, listener)
        self._chain_size = params.batch_size * self._loopback.loops
        self._have: frozenset[int] = frozenset()
        self._made: dict[str, Image.Image] = {}
        self._ended_chains: set[int] = set()
        self._prompts: dict[int, str] = {}

    def paint(self, have: Collection[int] = ()) -> None:
        """See ``PaintingRun``. A chain of which a picture is missing is painted from its
        beginning: what a round begins with was known only to whoever made it. The results are
        the same, and those that exist are not handed out again."""
        self._have = frozenset(have)
        super().paint([i for i in have if self._is_whole(i // self._chain_size)])

    def _is_whole(self, chain: int) -> bool:
        first = chain * self._chain_size
        return self._have.issuperset(range(first, first + self._chain_size))

    def batch(self, batch: int, indices: list[int]) -> Iterator[Picture]:
        """See ``PaintingRun``."""
        for picture in super().batch(batch, indices):
            if picture.index not in self._have:
                yield replace(picture, prompt=self._prompts.get(picture.index))

    def images(self, batch: int, indices: list[int]) -> list[Image.Image]:
        """See ``PaintingRun``; a round that was stopped ends its chain."""
        chain = batch // self._loopback.loops
        if chain in self._ended_chains:
            return []
        supplies = WithPictures(self.supplies, self._made)
        params = self._described(self._round_params(batch), indices, supplies)
        run = ImageToImageRun(params, supplies, self.listener)
        images = [picture.image for picture in run.batch(batch, indices)]
        if self.listener.should_stop():
            self._ended_chains.add(chain)
        self._made = dict(zip(map(_key, indices), images, strict=False))
        return images

    def _alike(self, indices: list[int]) -> list[int]:
        """All: the run of a round parts them by their texts, and the next needs all of them."""
        return indices

    def _described(
        self, params: ImageToImage, indices: list[int], supplies: Supplies
    ) -> ImageToImage:
        """A round's request with its pictures' prompts, to which words were added."""
        if self._loopback.interrogation == "None":
            return params
        for index in indices:
            inputs = params.init_images
            key = inputs[index % params.batch_size if len(inputs) > 1 else 0]
            words = supplies.describe(supplies.input(key))
            texts = self._request.of_picture(index).prompt, words
            self._prompts[index] = ", ".join(filter(None, texts))
        prompts = tuple(self._prompts.get(i, "") for i in range(params.image_count))
        drawn = params.drawn or DrawnTexts()
        return params.model_copy(update={"drawn": drawn.model_copy(update={"prompts": prompts})})

    def _round_params(self, batch: int) -> ImageToImage:
        params, loop = self._request, batch % self._loopback.loops
        changes: dict[str, Any] = {
            "denoising_strength": loop_strength(self._loopback, params.denoising_strength, loop)
        }
        if loop == 0:
            return params.model_copy(update=changes)
        first = (batch - 1) * params.batch_size
        changes["init_images"] = tuple(_key(first + i) for i in range(params.batch_size))
        if params.inpaint is not None:  # what was painted is what the next round begins with
            changes["inpaint"] = params.inpaint.model_copy(update={"content": "original"})
        return params.model_copy(update=changes)


def _key(index: int) -> str:
    return f"{index:064x}"
