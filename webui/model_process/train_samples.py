"""Paints sample pictures while a LoRA is trained, with our own pipelines."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image
from torch import Tensor

from webui.checkpoints.load import LoadedModel
from webui.errors import ParamsError
from webui.infotext import write_infotext
from webui.params import TextToImage
from webui.params.training import TrainingOptions
from webui.pictures import encode
from webui.pipelines.conditioning import PromptEncoder
from webui.pipelines.networks import JobNetworks
from webui.pipelines.runs import run_class
from webui.pipelines.supplies import Picture
from webui.pipelines.upscaling import PLAIN, Upscaler
from webui.prompts.tokenizer import ClipTokenizer
from webui.training.samples import SAMPLERS, SamplePrompt, pictures_of, sampler_word
from webui.training.watching import Watcher


class SamplePainter:
    """Paints every sample prompt and writes the pictures.

    Args:
        model: The one that is trained; its layers have the LoRA in them. Not packed.
        folder: The training's; pictures go into ``sample/`` in it.
        say: What is painted for a prompt.
    """

    def __init__(
        self,
        model: LoadedModel,
        options: TrainingOptions,
        folder: Path,
        watcher: Watcher,
        say: Callable[[str], str] = str,
    ) -> None:
        self._model, self._options, self._watcher = model, options, watcher
        self._say = say
        self._folder = folder / "sample"
        self._prompts = pictures_of(options)
        self._tokenizer = ClipTokenizer.load()

    def __call__(self, epoch: int, step: int, set_weight: Callable[[float], None]) -> None:
        """Paint all pictures of an epoch (0: of a step); the LoRA is left at the last weight."""
        for index, prompt in enumerate(self._prompts):
            if self._watcher.wants_stop() or self._watcher.wants_pause():
                return
            self._watcher.stage("sampling", index, len(self._prompts))
            set_weight(prompt.weight)
            image = self._painted(prompt)
            if image is not None:
                self._keep(image, prompt, index, epoch, step)

    def _keep(
        self, image: Image.Image, prompt: SamplePrompt, index: int, epoch: int, step: int
    ) -> None:
        """Write a picture; a disk that is full costs the picture, never the training."""
        path = self._path(prompt, index, epoch, step)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(_packed(image, prompt))
        except OSError as err:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)
            reason = err.strerror or err
            self._watcher.warn(f"A sample picture could not be kept: {reason}.")
            return
        self._watcher.sampled(path, epoch, step, index, prompt.prompt)

    def _painted(self, prompt: SamplePrompt) -> Image.Image | None:
        params = TextToImage(
            checkpoint=self._model.path.name,
            prompt=self._say(prompt.prompt),
            negative_prompt=self._say(prompt.negative_prompt),
            width=prompt.width,
            height=prompt.height,
            seed=prompt.seed or 0,
            subseed=0,
            cfg_scale=prompt.cfg_scale,
            steps=prompt.steps,
            clip_skip=self._options.clip_skip or 1,
            sampler=SAMPLERS[prompt.sampler or sampler_word(self._options.sample_sampler)],
        )
        ear = _Ear(self._watcher.warn)
        shelf = _OneModel(self._model, PromptEncoder(self._model, self._tokenizer), ear.warn)
        run_class(params)(params, shelf, ear).paint()
        return ear.image

    def _path(self, prompt: SamplePrompt, index: int, epoch: int, step: int) -> Path:
        """kohya's file name."""
        when = f"e{epoch:06d}" if epoch else f"{step:06d}"
        stamp = time.strftime("%Y%m%d%H%M%S")
        start = f"{self._options.output_name}_" if self._options.output_name else ""
        return self._folder / f"{start}{when}_{index:02d}_{stamp}_{prompt.seed}.png"


def _packed(image: Image.Image, prompt: SamplePrompt) -> bytes:
    """A PNG with our infotext."""
    told = {"Steps": prompt.steps, "Seed": prompt.seed, "CFG scale": prompt.cfg_scale}
    text = write_infotext(prompt.prompt, prompt.negative_prompt, told)
    return encode(image, format="png", infotext=text)


class _Ear:
    """Takes the one picture; see ``supplies.Listener``."""

    def __init__(self, warn: Callable[[str], None]) -> None:
        self.image: Image.Image | None = None
        self._warn = warn

    def progress(self, batch: int, batches: int, step: int, steps: int, stage: str) -> None:
        return None

    def preview(self, latents: Tensor) -> None:
        return None

    def finished(self, picture: Picture) -> None:
        self.image = picture.image

    def warn(self, message: str) -> None:
        self._warn(message)

    def should_stop(self) -> bool:
        return False

    def takes_next_batch(self) -> bool:
        return True


@dataclass
class _OneModel:
    """The model that is trained, whatever is asked for; see ``supplies.Supplies``."""

    _model: LoadedModel
    _encoder: PromptEncoder
    _warn: Callable[[str], None]

    def __post_init__(self) -> None:
        self.networks = JobNetworks([], self._warn)

    def model(self, checkpoint: str) -> LoadedModel:
        return self._model

    def encoder(self, model: LoadedModel) -> PromptEncoder:
        return self._encoder

    def input(self, key: str) -> Image.Image:
        raise ParamsError("Sample pictures have no input pictures.")

    def describe(self, image: Image.Image) -> str:
        raise ParamsError("Sample pictures are not described.")

    def upscaler(self, name: str) -> Upscaler:
        return PLAIN[name]

    def control_spec(self, name: str) -> Any:
        raise ParamsError("Sample pictures have no ControlNet.")

    def controlnet(self, name: str, base: Path, *, waits: bool) -> Any:
        raise ParamsError("Sample pictures have no ControlNet.")

    def map_network(self, name: str) -> Any:
        raise ParamsError("Sample pictures have no ControlNet.")

    def map_made(self, number: int, made: Any) -> None:
        raise AssertionError("they have no ControlNet")

    def face_mender(self, wish: Any) -> Any:
        raise ParamsError("Sample pictures are not repaired.")
