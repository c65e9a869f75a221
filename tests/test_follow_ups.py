"""Follow-ups: what their requests hold, and what the real starter checkpoint makes of them."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from webui.torch_setup import prepare_torch

prepare_torch()

from webui.errors import LibraryError, ParamsError  # noqa: E402
from webui.infotext import parse_infotext  # noqa: E402
from webui.library.inputs import Inputs  # noqa: E402
from webui.library.library import Library, PictureFacts  # noqa: E402
from webui.model_process.painter import Painter  # noqa: E402
from webui.params import (  # noqa: E402
    AnyParams,
    Hires,
    ImageToImage,
    Inpaint,
    Loopback,
    Output,
    Refiner,
    Sampling,
    SdUpscale,
    TextToImage,
    from_json,
)
from webui.pictures import encode, read_infotext  # noqa: E402
from webui.services import follow_ups  # noqa: E402
from webui.services.follow_ups import STRONG, SUBTLE, Parent, enlarge, input_of, parent_of, vary  # noqa: E402

KEY, OTHER = "a" * 64, "b" * 64
SMALL = {"width": 128, "height": 128, "steps": 8}


def parent(params: AnyParams, index: int = 0, **values: Any) -> Parent:
    facts = {"key": KEY, "width": params.width, "height": params.height, "seed": params.seed}
    return Parent(params=params, index=index, **{**facts, **values})


# What is asked for


def test_vary_when_asked_keeps_what_the_parent_was_painted_with() -> None:
    kept = {
        "prompt": "a (red:1.2) apple", "negative_prompt": "rain", "styles": ("warm",),
        "checkpoint": "a.safetensors", "vae": "None", "steps": 9, "cfg_scale": 4.5,
        "sampler": "Euler a", "schedule": "Karras", "clip_skip": 2, "randn_source": "CPU",
        "emphasis": "No norm", "tiling": True, "sampling": Sampling(eta=0.5),
        "refiner": Refiner(checkpoint="b.safetensors"), "output": Output(format="webp"),
    }  # fmt: skip
    made = vary(parent(TextToImage(width=192, height=128, seed=7, **kept)), STRONG, user="ann")

    assert {name: getattr(made, name) for name in kept} == kept
    assert (made.width, made.height, made.init_images) == (192, 128, (KEY,))
    assert (made.denoising_strength, made.user, made.image_count) == (STRONG, "ann", 1)
    assert from_json(made.to_json()) == made


def test_vary_when_asked_twice_draws_two_seeds() -> None:
    seeds = {vary(parent(TextToImage(seed=7)), SUBTLE).seed for _ in range(8)}
    assert len(seeds) == 8 and 7 not in seeds


def test_vary_of_a_hires_picture_has_the_pictures_own_size() -> None:
    large = parent(TextToImage(width=128, height=192, hires=Hires()), width=256, height=384)
    made = vary(large, SUBTLE)
    assert (made.width, made.height) == (256, 384)


def test_vary_of_an_odd_size_paints_the_nearest_that_can_be() -> None:
    made = vary(parent(TextToImage(), width=301, height=30), SUBTLE)
    assert (made.width, made.height) == (304, 64)


def test_vary_when_the_parent_had_a_variation_seed_does_not_keep_it() -> None:
    made = vary(parent(TextToImage(subseed=3, subseed_strength=0.4, seed_resize_from_w=64)), SUBTLE)
    assert (made.subseed_strength, made.seed_resize_from_w) == (0, 0)


@pytest.mark.parametrize(
    ("batch_size", "count", "expected"), [(4, 4, (4, 1)), (1, 4, (1, 4)), (2, 4, (2, 2))]
)
def test_vary_of_one_of_four_makes_four_in_batches_as_its_parent(
    batch_size: int, count: int, expected: tuple[int, int]
) -> None:
    made = vary(parent(TextToImage(batch_size=batch_size)), SUBTLE, count=count)
    assert (made.batch_size, made.batch_count) == expected


@pytest.mark.parametrize(
    "way",
    [
        {"inpaint": Inpaint(mask=OTHER)}, {"loopback": Loopback()}, {"sd_upscale": SdUpscale()},
        {"resize_mode": "Resize and fill"},
    ],
)  # fmt: skip
def test_vary_of_an_img2img_picture_leaves_its_way_of_working_behind(way: dict[str, Any]) -> None:
    params = ImageToImage(init_images=(OTHER,), color_correction=True, extra_noise=0.1, **way)
    made = vary(parent(params), SUBTLE)

    assert made.init_images == (KEY,) and made.resize_mode == "Just resize"
    assert (made.inpaint, made.loopback, made.sd_upscale) == (None, None, None)
    assert (made.color_correction, made.extra_noise) == (True, 0.1)


def test_vary_when_the_strength_is_no_share_says_so() -> None:
    with pytest.raises(ParamsError, match="denoising_strength"):
        vary(parent(TextToImage()), 1.5)


def test_enlarge_of_a_first_pass_adds_the_second_with_its_own_seeds() -> None:
    params = TextToImage(batch_size=4, batch_count=2, seed=10, subseed=20, subseed_strength=0.5)
    hires = Hires(scale=1.5, upscaler="Lanczos", denoising_strength=0.35)
    made = enlarge(parent(params, index=3, seed=10), hires, user="ann")

    assert isinstance(made, TextToImage)
    assert (made.hires, made.first_pass_image) == (hires, KEY)
    assert (made.seed, made.subseed, made.image_count, made.user) == (10, 23, 1, "ann")
    assert made.prompt == params.prompt and (made.width, made.height) == (512, 512)


@pytest.mark.parametrize(
    ("params", "size"),
    [
        (TextToImage(width=128, height=128, hires=Hires()), (256, 256)),
        (ImageToImage(width=128, height=128, init_images=(OTHER,)), (128, 128)),
        (ImageToImage(width=128, height=128, init_images=(OTHER,)), (192, 128)),
    ],
)
def test_enlarge_of_other_pictures_doubles_them_in_tiles_they_were_painted_at(
    params: AnyParams, size: tuple[int, int]
) -> None:
    made = enlarge(parent(params, width=size[0], height=size[1], seed=5))

    assert isinstance(made, ImageToImage) and made.sd_upscale is not None
    assert (made.width, made.height, made.sd_upscale.scale) == (128, 128, 2.0)
    assert made.sd_upscale.overlap == 32 and made.init_images == (KEY,) and made.seed == 5


@pytest.mark.parametrize(
    ("params", "index", "key"),
    [
        (TextToImage(), 0, None),
        (TextToImage(hires=Hires(), first_pass_image=KEY), 0, KEY),
        (ImageToImage(init_images=(KEY,), batch_size=2), 3, KEY),
        (ImageToImage(init_images=(KEY, OTHER), batch_size=2), 3, OTHER),
    ],
)
def test_input_of_names_what_a_picture_was_made_from(
    params: AnyParams, index: int, key: str | None
) -> None:
    assert input_of(params, index) == key


@pytest.fixture
def studio(tmp_path: Path) -> Any:
    """As much of a studio as gathering a parent needs, with one job in it."""
    params = TextToImage(prompt="a fox", width=64, height=64, batch_size=4, seed=9)
    library = Library(tmp_path, tmp_path / "data.sqlite")
    yield SimpleNamespace(
        library=library,
        inputs=Inputs(tmp_path / "inputs"),
        jobs=SimpleNamespace(get=lambda _id: SimpleNamespace(params_json=params.to_json())),
        params_of=lambda job: from_json(job.params_json),
        params=params,
        folder=tmp_path / "outputs",
    )
    library.close()


def save(studio: Any, index: int) -> Any:
    data = encode(Image.new("RGB", (64, 64), (9 * index, 0, 0)), format="png", infotext="a fox")
    event = {"index": index, "seed": 9 + index, "width": 64, "height": 64, "infotext": "a fox"}
    facts = PictureFacts.from_params(studio.params, event)
    return studio.library.save_image(1, index, data, facts, Output(), studio.folder)


def test_parent_when_gathered_keeps_the_file_byte_for_byte(studio: Any) -> None:
    picture = save(studio, 2)
    found = parent_of(studio, picture)

    assert studio.inputs.path(found.key).read_bytes() == picture.path.read_bytes()
    assert (found.index, found.seed, found.width, found.params) == (2, 11, 64, studio.params)


def test_parent_when_the_file_is_gone_says_so(studio: Any) -> None:
    picture = save(studio, 0)
    picture.path.unlink()
    with pytest.raises(LibraryError):
        parent_of(studio, picture)


def test_parent_when_it_is_a_grid_asks_for_one_picture(studio: Any) -> None:
    save(studio, 0)
    save(studio, 1)
    event = {"index": 1, "seed": 9, "width": 64, "height": 64, "infotext": "a fox"}
    facts = PictureFacts.from_params(studio.params, event)
    grid = studio.library.save_grid(1, facts, Output(grid=True), studio.folder)
    with pytest.raises(LibraryError, match="grid"):
        parent_of(studio, grid)


# What the starter checkpoint makes of it


@pytest.fixture(scope="module")
def paint(
    starter_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., list[dict[str, Any]]]:
    """Paints a request with the real model process's painter; returns its picture messages."""
    heard: list[dict[str, Any]] = []
    wire = SimpleNamespace(send=heard.append)
    asked = SimpleNamespace(interrupted=False, should_stop=False, clear_skip=lambda: None)
    painter = Painter({"device": "cpu"}, wire, asked)  # type: ignore[arg-type]
    inputs = Inputs(tmp_path_factory.mktemp("inputs"))
    checkpoint = {
        "path": str(starter_checkpoint), "name": starter_checkpoint.name,
        "stem": starter_checkpoint.stem, "sha256": "ab" * 32, "size": 1,
    }  # fmt: skip

    def run(params: AnyParams) -> list[dict[str, Any]]:
        heard.clear()
        message = {
            "job": 1, "params": params.to_json(), "checkpoint": checkpoint, "vae": None,
            "preview": {"enabled": False}, "others": {},
            "inputs": {key: str(inputs.path(key)) for key in params.input_keys},
        }  # fmt: skip
        painter.run(message)
        return [m for m in heard if m["type"] == "image"]

    run.inputs = inputs  # type: ignore[attr-defined]
    return run


def pixels(message: dict[str, Any]) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(message["image"])).convert("RGB"), np.float32)


@pytest.fixture(scope="module")
def cat(paint: Any) -> tuple[Parent, np.ndarray]:
    """A finished picture as a parent, and its pixels."""
    params = TextToImage(prompt="a cat in the snow", seed=3, **SMALL)
    (message,) = paint(params)
    return parent(params, key=paint.inputs.keep(message["image"])), pixels(message)


@pytest.mark.parametrize(
    ("prompt", "seed"), [("a red apple on a yellow background", 102), ("a castle at sunset", 100)]
)
def test_vary_when_painted_subtle_is_closer_to_the_parent_than_strong(
    paint: Any, prompt: str, seed: int
) -> None:
    params = TextToImage(prompt=prompt, seed=7, width=128, height=128, steps=20)
    (message,) = paint(params)
    source, before = parent(params, key=paint.inputs.keep(message["image"])), pixels(message)

    def distances(strength: float) -> list[float]:
        wanted = vary(source, strength, count=3).model_copy(update={"seed": seed})
        return [float(abs(pixels(m) - before).mean()) for m in paint(wanted)]

    subtle, strong = distances(SUBTLE), distances(STRONG)
    assert max(subtle) < min(strong)
    assert min(subtle) > 1  # new pictures, not copies


def test_vary_when_painted_writes_seed_and_strength_into_the_recipe(
    paint: Any, cat: tuple[Parent, np.ndarray]
) -> None:
    wanted = vary(cat[0], SUBTLE, count=2)
    made = paint(wanted)

    assert [m["seed"] for m in made] == [wanted.seed, wanted.seed + 1]
    for message in made:
        infotext, _ = read_infotext(message["image"])
        recipe = parse_infotext(infotext or "")
        assert recipe.prompt == "a cat in the snow"
        assert recipe.params["Seed"] == str(message["seed"])
        assert recipe.params["Denoising strength"] == str(follow_ups.SUBTLE)
        assert (recipe.params["Size-1"], recipe.params["Size-2"]) == ("128", "128")


def test_vary_when_painted_again_from_the_same_request_is_the_same(
    paint: Any, cat: tuple[Parent, np.ndarray]
) -> None:
    wanted = vary(cat[0], STRONG)
    (first,), (second,) = paint(wanted), paint(wanted)
    assert np.array_equal(pixels(first), pixels(second))
