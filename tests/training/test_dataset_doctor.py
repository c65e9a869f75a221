"""The look over a training set, and what is foretold of a training."""

from __future__ import annotations

import dataclasses
import gzip
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from tests.training.pictures import options, picture
from webui.checkpoints.headers import TensorInfo
from webui.training.dataset_doctor import BLURRED, blur_of, copies, examine, is_odd, look_at
from webui.training.dataset_plan import make_plan
from webui.training.estimates import (
    ModelSize,
    PastWork,
    estimate,
    guess_time,
    memory_need,
    work_of_training,
)

STRIPPED = Path(__file__).parents[1] / "data" / "stripped"


def _scene(seed: int, side: int = 256) -> Image.Image:
    """Overlapping coloured boxes: edges as a photograph has."""
    draw = np.random.default_rng(seed)
    pixels = np.zeros((side, side, 3), np.uint8)
    for _ in range(40):
        x, y = draw.integers(0, side, 2)
        w, h = draw.integers(side // 16, side // 3, 2)
        pixels[y : y + h, x : x + w] = draw.integers(0, 255, 3)
    return Image.fromarray(pixels)


def test_blur_when_a_picture_is_out_of_focus_then_rises_over_the_line() -> None:
    def blur(image: Image.Image) -> float:
        return blur_of(np.asarray(image.convert("L"), np.float32))

    for seed in range(3):
        scene = _scene(seed)
        values = [blur(scene.filter(ImageFilter.GaussianBlur(r))) for r in (0.1, 1, 2.5, 5)]
        assert values == sorted(values) and values[0] < BLURRED < values[2]
    assert blur(Image.new("L", (64, 64), 128)) == 0


def test_look_when_a_picture_has_sixteen_bits_then_sees_its_shades(tmp_path: Path) -> None:
    shades = np.linspace(0, 65535, 256).astype(np.uint16)
    Image.fromarray(np.tile(shades, (64, 1))).save(tmp_path / "deep.png")
    tiny = look_at(tmp_path / "deep.png").tiny
    assert tiny[0, 0, 0] < 40 and 100 < tiny[0, 4, 0] < 170 and tiny[0, 7, 0] > 220


def test_examination_when_pictures_have_faults_then_each_is_found(tmp_path: Path) -> None:
    folder = tmp_path / "1_me"
    folder.mkdir()
    scenes = [_scene(seed) for seed in range(4)]
    scenes[0].save(folder / "a.png")
    scenes[0].resize((180, 180)).save(folder / "b copy.jpg", quality=70)
    scenes[1].filter(ImageFilter.GaussianBlur(6)).save(folder / "c blurred.png")
    scenes[2].resize((30, 30)).save(folder / "d small.png")
    scenes[3].save(folder / "e.png")
    (folder / "f broken.png").write_bytes(b"x")
    cut = (folder / "b copy.jpg").read_bytes()
    (folder / "g cut.jpg").write_bytes(cut[: len(cut) // 2])
    for name, text in {"a": "me, red", "e": "me, (red:1.2), me"}.items():
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    seen: list[tuple[int, int]] = []
    plan = make_plan(options(tmp_path), goes_on=True)
    report = examine(plan, lambda done, total: seen.append((done, total)))

    def named(code: str) -> list[str]:
        return [judged.entry.photograph.path.stem for judged in report.with_code(code)]

    assert named("copy") == ["b copy"] and report.with_code("copy")[0].same_as == "a.png"
    assert named("blurred") == ["c blurred"]
    assert named("enlarged") == ["d small"]
    assert named("odd_caption") == ["e"]
    assert set(named("no_caption")) == {"b copy", "c blurred", "d small"}
    assert [Path(err.file).stem for err in report.broken] == ["f broken", "g cut"]
    assert report.tags["me"] == 5 and report.tags["red"] == 1
    assert seen[-1] == (6, 6)
    codes = {notice.code for notice in report.notices}
    assert codes >= {"pictures_copy", "pictures_blurred", "pictures_enlarged"}


def test_copies_when_only_the_colours_differ_then_are_no_copies(tmp_path: Path) -> None:
    folder = tmp_path / "1_me"
    folder.mkdir()
    red, green, blue = _scene(7).split()
    Image.merge("RGB", (red, green, blue)).save(folder / "a.png")
    Image.merge("RGB", (blue, red, green)).save(folder / "b.png")
    Image.merge("RGB", (red, green, blue)).convert("L").save(folder / "c.png")
    looks = [look_at(folder / f"{name}.png") for name in "abc"]
    same = [dataclasses.replace(look, bits=looks[0].bits) for look in looks]
    assert copies(same) == [None, None, None]
    assert copies([same[0], same[0], same[1]]) == [None, 0, None]


@pytest.mark.parametrize(
    ("caption", "is_wrong"),
    [("a cat, sitting", False), ("a cat, a cat", True), ("<lora:x:1> cat", True), ("123, 4", True),
     ("一只猫", False), ("", False), ("cat, ^_^, >_<", False), ("a cat ^", True)],
)  # fmt: skip
def test_caption_when_it_looks_like_a_mistake_then_is_odd(caption: str, is_wrong: bool) -> None:
    assert is_odd(caption) == is_wrong


@pytest.mark.parametrize(
    ("name", "unet", "all_parts"),
    [("sd1", 423_936, 589_824), ("sdxl", 2_659_840, 3_563_008)],
)
def test_model_when_counted_then_a_rank_has_as_many_weights_as_told(
    name: str, unet: int, all_parts: int
) -> None:
    size = _size(name)
    assert size.lora_unet == unet and size.lora_unet + size.lora_text == all_parts


def _size(name: str) -> ModelSize:
    stored = json.loads(gzip.decompress((STRIPPED / f"{name}.json.gz").read_bytes()))
    return ModelSize.of(
        {k: TensorInfo(dtype, tuple(shape)) for k, (dtype, shape) in stored.items()}
    )


def test_estimate_when_made_then_steps_are_those_of_the_buckets(tmp_path: Path) -> None:
    for at in range(10):
        picture(tmp_path / "10_me" / f"{at}.png", caption="me")
    for at in range(3):
        picture(tmp_path / "10_me" / f"wide {at}.png", (128, 64), caption="me")
    chosen = {"enable_bucket": True, "resolution": "512", "min_bucket_reso": 256}
    chosen |= {"max_bucket_reso": 1024, "train_batch_size": 4, "max_train_epochs": 10}
    flat = options(tmp_path, **chosen)
    found = estimate(flat, make_plan(flat), _size("sd1"), "sd1", "cuda", ())
    assert found.length.steps == 330 and found.pictures == 130 and found.time.source == ""
    flat = options(tmp_path, **chosen, network_dim=32, save_precision="fp16")
    found = estimate(flat, make_plan(flat), _size("sd1"), "sd1", "cuda", ())
    assert found.file_bytes == 2 * 32 * 589_824


def test_memory_when_options_save_some_then_less_is_foretold(tmp_path: Path) -> None:
    picture(tmp_path / "1_me" / "a.png", (512, 512), caption="me")
    base = {"resolution": "512", "network_dim": 32, "mixed_precision": "fp16"}

    def need(**changes: object) -> float:
        flat = options(tmp_path, **{**base, **changes})
        return memory_need(flat, _size("sd1"), make_plan(flat), "sd1", "cuda").total / 2**30

    plain = need()
    assert 3.5 < plain < 6.5  # what people report for SD 1.5 at 512 and batch 1
    assert need(mixed_precision="no") > 1.7 * plain
    assert need(gradient_checkpointing=True) < plain - 0.7
    assert need(cache_latents=True) < plain - 0.1
    assert need(resolution="768") > plain + 0.9
    assert need(network_train_unet_only=True) < plain


def test_memory_when_a_full_size_training_was_measured_then_it_is_foretold_near_that(
    tmp_path: Path,
) -> None:
    """SD 1.5, 256 x 256, batch 1, rank 16, float32, CPU: 4,464 MiB in benchmarks/RESULTS.md."""
    picture(tmp_path / "1_me" / "a.png", (256, 256), caption="me")
    base = {"resolution": "256", "network_dim": 16, "cache_latents": True}

    def need(**changes: object) -> float:
        flat = options(tmp_path, **{**base, "network_train_unet_only": True, **changes})
        return memory_need(flat, _size("sd1"), make_plan(flat), "sd1", "cpu").total / 2**20

    assert 4464 <= need() <= 1.1 * 4464
    assert need(shuffle_caption=True) > need() + 400, "the text encoder stays"
    assert need(sample_prompts="me") > need() + 700, "it and the VAE stay"


def test_time_when_something_is_known_then_trainings_tell_more_than_pictures(
    tmp_path: Path,
) -> None:
    picture(tmp_path / "1_me" / "a.png", caption="me")
    flat = options(tmp_path)
    work = work_of_training(flat, 1e6, make_plan(flat), 100)
    pictures = [PastWork(work / 10, 1.0, is_training=False)]
    guess = guess_time(work, pictures)
    assert guess.source == "pictures" and guess.seconds == pytest.approx(10)
    assert guess.low == pytest.approx(5) and guess.high == pytest.approx(20)
    guess = guess_time(work, [*pictures, PastWork(work / 2, 20.0, is_training=True)])
    assert guess.source == "trainings" and guess.seconds == pytest.approx(40)
    assert guess_time(work, ()).source == ""
    rough = guess_time(work, (), rough_rate=20 / work)
    assert rough.source == "device" and (rough.low, rough.high) == pytest.approx((10, 60))
    assert guess_time(work, (), rough_rate=20 / work, least=60.0).seconds == 60.0
    assert guess_time(work, (), least=60.0).source == ""
    assert guess_time(work, pictures, rough_rate=20 / work).source == "pictures"
