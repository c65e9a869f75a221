"""The starter checkpoint loaded once, and someone who listens to painting."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from webui.torch_setup import prepare_torch

prepare_torch()  # before anything imports diffusers

from webui.checkpoints.load import load_checkpoint  # noqa: E402
from webui.errors import CheckpointNotFoundError, ParamsError  # noqa: E402
from webui.params import build  # noqa: E402
from webui.pipelines.conditioning import PromptEncoder  # noqa: E402
from webui.pipelines.hypernetworks import JobHypernetworks  # noqa: E402
from webui.pipelines.loras import JobLoras  # noqa: E402
from webui.pipelines.networks import JobNetworks  # noqa: E402
from webui.pipelines.runs import run_class  # noqa: E402
from webui.pipelines.supplies import Picture  # noqa: E402
from webui.pipelines.upscaling import PLAIN, Upscaler  # noqa: E402
from webui.prompts.tokenizer import ClipTokenizer  # noqa: E402


@dataclass
class Ear:
    """Remembers everything it is told; stops when ``stop_after`` says so."""

    stop_after: Callable[[Ear], bool] = lambda ear: False
    is_skip: bool = False
    pictures: list[Picture] = field(default_factory=list)
    steps: list[tuple[int, int, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    previews: int = 0
    batches_begun: int = 0

    def progress(self, batch: int, batches: int, step: int, steps: int, stage: str) -> None:
        self.steps.append((batch, step, stage))

    def preview(self, latents: Any) -> None:
        self.previews += 1

    def finished(self, picture: Picture) -> None:
        self.pictures.append(picture)

    def warn(self, message: str) -> None:
        self.warnings.append(message)

    def should_stop(self) -> bool:
        return self.stop_after(self)

    def takes_next_batch(self) -> bool:
        if self.batches_begun and self.stop_after(self) and not self.is_skip:
            return False
        if self.is_skip:
            self.stop_after = lambda ear: False if ear.batches_begun > 1 else self._skips(ear)
        self.batches_begun += 1
        return True

    def _skips(self, ear: Ear) -> bool:
        return len(ear.steps) >= 2


@pytest.fixture(scope="session")
def starter(starter_checkpoint: Path) -> Any:
    return load_checkpoint(starter_checkpoint)


@pytest.fixture(scope="session")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer.load()


@pytest.fixture
def encoder(starter: Any, tokenizer: ClipTokenizer) -> PromptEncoder:
    return PromptEncoder(starter, tokenizer)


def nothing(name: str) -> Any:
    raise CheckpointNotFoundError(f"Nothing named {name!r}.", "Put it there.")


def networks(
    warn: Callable[[str], None], loras: Any = nothing, hypernetworks: Any = nothing
) -> JobNetworks:
    """The networks of one job."""
    return JobNetworks([JobLoras(loras, warn), JobHypernetworks(hypernetworks, warn)], warn)


@dataclass
class Shelf:
    """Supplies of one loaded model for every name, and pictures by key."""

    loaded: Any
    prompt_encoder: PromptEncoder
    inputs: dict[str, Image.Image] = field(default_factory=dict)
    networks: Any = field(default_factory=lambda: networks(print), kw_only=True)
    controlnets: dict[str, Any] = field(default_factory=dict, kw_only=True)
    map_networks: dict[str, Any] = field(default_factory=dict, kw_only=True)
    maps: dict[int, Any] = field(default_factory=dict, kw_only=True)
    describe: Callable[[Image.Image], str] = field(default=lambda _: "", kw_only=True)

    def model(self, checkpoint: str) -> Any:
        return self.loaded

    def encoder(self, model: Any) -> PromptEncoder:
        return self.prompt_encoder

    def input(self, key: str) -> Image.Image:
        return self.inputs[key]

    def control_spec(self, name: str) -> Any:
        return self.controlnets[name].spec

    def controlnet(self, name: str, base: Path, *, waits: bool) -> Any:
        return self.controlnets[name]

    def map_network(self, name: str) -> Any:
        return self.map_networks[name]

    def map_made(self, number: int, made: Any) -> None:
        self.maps[number] = made

    def upscaler(self, name: str) -> Upscaler:
        if name not in PLAIN:
            raise ParamsError(f"could not find upscaler named {name}.", field="upscaler")
        return PLAIN[name]


@pytest.fixture
def painted(starter: Any, encoder: PromptEncoder) -> Iterator[Callable[..., Ear]]:
    """Paint with the starter: small and few steps unless said otherwise.

    Input pictures are given as ``inputs``, a dict from key to picture.
    """

    def run(
        ear: Ear | None = None,
        have: Any = (),
        kind: str = "txt2img",
        inputs: dict[str, Image.Image] | None = None,
        describe: Callable[[Image.Image], str] = lambda _: "",
        **values: Any,
    ) -> Ear:
        ear = ear or Ear()
        small = {"width": 64, "height": 64, "steps": 4, "prompt": "a red apple", "seed": 1}
        params = build(kind, {**small, **values})
        shelf = Shelf(
            starter, encoder, inputs or {}, networks=networks(ear.warn), describe=describe
        )
        run_class(params)(params, shelf, ear).paint(have)
        return ear

    yield run
    starter.extras.pop("memory_ladder", None)  # what one test learnt is not for the next


@pytest.fixture(scope="session")
def bent_model(starter_checkpoint: Path) -> Any:
    """A second model; see ``two_models.bent``."""
    from tests.pipelines.two_models import bent

    return bent(starter_checkpoint)


@pytest.fixture
def two(starter: Any, bent_model: Any, tokenizer: ClipTokenizer) -> Any:
    """Paint with the starter and the bent model at hand; see ``two_models.painter_of_two``."""
    from tests.pipelines.two_models import painter_of_two

    return painter_of_two(starter, bent_model, tokenizer)
