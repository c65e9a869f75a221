"""Worker parts in real paintings: every moment, what they offer, own jobs, failures."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.heard import Heard
from webui.torch_setup import prepare_torch

prepare_torch()

from webui.errors import ExtensionError, JobPaused  # noqa: E402
from webui.extensions.folders import read_extension  # noqa: E402
from webui.hookspecs import MOMENTS  # noqa: E402
from webui.model_process.painter import Painter  # noqa: E402
from webui.options import OPTION_DEFAULTS, Options  # noqa: E402
from webui.params import (  # noqa: E402
    ExtensionJob,
    Extras,
    FaceRestoration,
    Hires,
    Interrogate,
    Refiner,
    TextToImage,
)
from webui.pictures import open_image  # noqa: E402
from webui.samplers.names import SAMPLERS_BY_NAME, SCHEDULES  # noqa: E402
from webui.samplers.schedules import add_formula, remove_formula  # noqa: E402
from webui.services.extensions.room import ExtensionRoom  # noqa: E402
from webui.services.resolve import Known, TextToImageRequest, resolve  # noqa: E402

LITTLE = Path(__file__).parent / "little"
BUILT_IN = Path(__file__).parents[2] / "webui" / "built_in_extensions"


class Bench:
    """A painter and what it says."""

    def __init__(self, note: Path, checkpoint: Path) -> None:
        self.heard = Heard()
        asked = SimpleNamespace(
            interrupted=False, should_stop=False, paused=False, clear_skip=lambda: None
        )
        settings = {"device": "cpu", "extensions_note": str(note)}
        self.painter = Painter(settings, self.heard, asked)  # type: ignore[arg-type]
        self._checkpoint = checkpoint

    def run(self, params: Any, *extensions: Path, **more: Any) -> dict[str, Any]:
        """Run a job with these extensions loaded; its result."""
        self.heard.messages.clear()
        told = {"wanted": [_facts(path) for path in extensions], **more.pop("told", {})}
        message: dict[str, Any] = {"job": 7, "params": params.to_json(), **more}
        message["checkpoint"] = {
            "path": str(self._checkpoint), "name": "starter", "stem": "starter",
            "sha256": "ab" * 32, "size": 1,
        }  # fmt: skip
        if extensions or told.keys() > {"wanted"}:
            message["extensions"] = told
        return self.painter.run(message)

    def paint(self, *extensions: Path, told: Mapping[str, Any] | None = None, **values: Any) -> Any:
        """The only picture of a small painting, and its recipe."""
        acting = {path.stem: values.pop(path.stem, {}) for path in extensions}
        acting = {name: own for name, own in acting.items() if own is not None}
        small = {"prompt": "a cat", "width": 64, "height": 64, "steps": 2, "seed": 5}
        params = TextToImage.model_validate({**small, "extensions": acting, **values})
        self.run(params, *extensions, told=dict(told or {}))
        (picture,) = self.heard.of("image")
        return np.asarray(open_picture(picture["image"])), picture["infotext"]

    @property
    def warnings(self) -> list[str]:
        return [message["message"] for message in self.heard.of("warning")]


def open_picture(data: bytes) -> Image.Image:
    import io

    return open_image(io.BytesIO(data)).convert("RGB")


def _facts(path: Path) -> dict[str, Any]:
    found = read_extension(path)
    assert found is not None and not found.problem
    return {
        "name": found.name, "path": str(found.path), "kind": found.kind, "model": str(found.model),
        "is_built_in": False, "prints": found.prints,
    }  # fmt: skip


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory, starter_checkpoint: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("notes") / "note", starter_checkpoint)
    yield bench
    if bench.painter.extensions is not None:
        bench.painter.extensions.close()


@pytest.fixture(scope="module")
def plain(bench: Bench) -> Any:
    return bench.paint()


def dropped(tmp_path: Path, text: str, name: str = "mine") -> Path:
    path = tmp_path / f"{name}.py"
    path.write_text(f"from webui.hookspecs import *\n{text}", encoding="utf-8")
    return path


def test_little_extensions_when_taken_together_then_join_every_moment() -> None:
    text = "".join(file.read_text(encoding="utf-8") for file in LITTLE.rglob("*.py"))
    assert [name for name in MOMENTS if f"def {name}(" not in text] == []


def test_moments_when_all_are_joined_then_come_in_order_with_what_is_promised(
    bench: Bench, plain: Any
) -> None:
    pixels, recipe = bench.paint(LITTLE / "steps", told={"infotext": {"Declared": 1}})
    order = sys.modules["danqing_extensions.steps.model"].order
    call = ["before_step {}/2", "after_model 1", "after_guidance"]
    one, two = ([line.format(n) for line in call] for n in (0, 1))
    assert order == [
        "before_job", "before_conditioning", "after_conditioning",
        "before_pass sampling [0] (1, 4, 8, 8)", *one, *two, "after_pass sampling", "after_decode",
        "picture_finished 0 5", "infotext_written", "after_job",
    ]  # fmt: skip
    assert bench.warnings == []
    assert recipe.endswith("Declared: 1, Little steps: 0" + plain[1][plain[1].index(", Version") :])
    assert not np.array_equal(pixels, plain[0])


def test_painting_when_no_extension_answers_then_is_the_same_to_the_last_bit(
    bench: Bench, plain: Any, tmp_path: Path
) -> None:
    empty = "".join(
        f"@hook\ndef {name}(): return None\n" for name, moment in MOMENTS.items()
        if moment.process == "worker" and moment.answer != "listed"
    )  # fmt: skip
    again = bench.paint(dropped(tmp_path, empty, "empty"))
    assert np.array_equal(again[0], plain[0]) and again[1] == plain[1]
    gone = bench.paint()
    assert np.array_equal(gone[0], plain[0]) and gone[1] == plain[1]


@pytest.mark.parametrize(
    ("joined", "sizes"), [("", "2"), ("@hook\ndef before_conditioning(): return None\n", "11")]
)
def test_texts_of_a_batch_when_an_extension_is_told_of_them_are_told_one_at_a_time(
    bench: Bench, tmp_path: Path, joined: str, sizes: str
) -> None:
    note = tmp_path / "sizes"
    text = f"@hook\ndef after_pass(latents): open({str(note)!r}, 'a').write(str(len(latents)))\n"
    path = dropped(tmp_path, text + joined, f"told{len(joined)}")
    wish = {"prompts": ["a cat", "a dog"]}
    small = {"width": 64, "height": 64, "steps": 1, "batch_size": 2, "extensions": {path.stem: {}}}
    bench.run(TextToImage.model_validate({**small, "drawn": wish}), path)
    assert note.read_text() == sizes


def test_prompts_when_a_dropped_folder_draws_them_stand_in_the_recipes_of_their_pictures(
    bench: Bench, tmp_path: Path
) -> None:
    folder = shutil.copytree(LITTLE / "own_texts", tmp_path / "extensions" / "own_texts")
    (tmp_path / "own-words.txt").write_text("cat dog", encoding="utf-8")
    room = ExtensionRoom(
        built_in=None, folders=(folder.parent,), options=Options(tmp_path / "config.json"),
        notes=tmp_path, models=(), data=tmp_path,
    )  # fmt: skip
    small = {"width": 64, "height": 64, "steps": 1, "sampler": "Euler", "seed": 4}
    wish = TextToImageRequest(**small, prompt="a %word%", batch_count=2, checkpoint="starter")
    known = Known(find_checkpoint=str, draw=room.drawing({}, pytest.fail))
    params = resolve(wish, OPTION_DEFAULTS, known)
    room.close()
    shutil.rmtree(folder)
    bench.run(params)  # by its words: nobody is left who could draw them

    first, second = (message["infotext"] for message in bench.heard.of("image"))
    assert first.splitlines()[0] == "a and cat" and second.splitlines()[0] == "a and dog"
    assert all("Template: a %word%" in recipe for recipe in (first, second))
    pictures = [message["image"] for message in bench.heard.of("image")]
    bench.paint(**{**small, "prompt": "a and dog", "seed": 5})
    assert np.array_equal(
        np.asarray(open_picture(bench.heard.of("image")[0]["image"])),
        np.asarray(open_picture(pictures[1])),
    )


WRONG = {
    "before_step": ("latents[:, :2]", "(1, 4, 8, 8) is needed"),
    "after_guidance": ("'no tensor'", "str"),
    "after_model": ("None if 1 / 0 else 1", "division by zero"),
    "after_pass": ("__import__('sys').exit(4)", "SystemExit"),
    "after_decode": ("images * 2", "a list of 1 pictures"),
    "before_pass": ("5", "a Pass is needed"),
    "picture_finished": ("'no picture'", "a picture is needed"),
    "before_conditioning": ("'no texts'", "Texts is needed"),
}


@pytest.mark.parametrize("moment", WRONG)
def test_extension_when_it_fails_or_answers_wrongly_then_the_picture_is_as_without_it(
    bench: Bench, plain: Any, tmp_path: Path, moment: str
) -> None:
    answer, told = WRONG[moment]
    first = {"before_step": "latents", "after_decode": "images"}.get(moment, "job")
    text = f"@hook\ndef {moment}({first}): return {answer}\n"
    pixels, _ = bench.paint(dropped(tmp_path, text, f"bad_{moment}"))
    assert np.array_equal(pixels, plain[0])
    (warning,) = bench.warnings
    assert f"The extension bad_{moment} failed in {moment}" in warning and told in warning
    troubles = [message["trouble"] for message in bench.heard.of("extension")]
    assert {trouble["plugin"] for trouble in troubles} == {f"bad_{moment}"}


def test_pictures_when_an_extension_answers_with_others_then_keep_their_size_and_colours(
    bench: Bench, tmp_path: Path
) -> None:
    text = "@hook\ndef after_decode(images): return [images[0].{}]\n"
    small = dropped(tmp_path, text.format("resize((32, 32))"), "small")
    pixels, _ = bench.paint(small)
    assert pixels.shape == (64, 64, 3) and "of another size" in bench.warnings[0]
    pixels, _ = bench.paint(dropped(tmp_path, text.format("convert('L')"), "grey"))
    assert np.ptp(pixels.astype(int), axis=2).max() == 0 and bench.warnings == []


def test_offer_when_one_of_it_cannot_be_taken_then_nothing_of_it_stays(
    bench: Bench, tmp_path: Path
) -> None:
    text = (
        "from types import SimpleNamespace as Thing\nfrom webui.samplers.euler import euler\n"
        "@hook\ndef samplers(): return [Thing(name='Half'), Sampler('Good', euler)]\n"
        "@hook\ndef schedules(): return [Schedule('Taken', len)]\n"
    )
    add_formula("Taken", lambda steps, low, high: [high])
    try:
        bench.paint(dropped(tmp_path, text, "halves"))
        assert "Half" not in SAMPLERS_BY_NAME and "Good" in SAMPLERS_BY_NAME
        assert "Taken" not in [one.label for one in SCHEDULES]
        troubles = [message["trouble"]["message"] for message in bench.heard.of("extension")]
        assert "a Sampler is needed" in troubles[0] and "'Taken' already" in troubles[1]
    finally:
        remove_formula("Taken")
    bench.paint(told={"infotext": {}})
    assert "Good" not in SAMPLERS_BY_NAME


def test_offer_when_the_job_is_paused_in_it_then_the_pause_passes(
    bench: Bench, tmp_path: Path
) -> None:
    text = (
        "from webui.errors import JobPaused\n"
        "def pause(*args, **options): raise JobPaused('paused')\n"
        "@hook\ndef samplers(): return [Sampler('Pausing', pause)]\n"
    )
    with pytest.raises(JobPaused):
        bench.paint(dropped(tmp_path, text, "pausing"), sampler="Pausing")
    assert bench.heard.of("extension") == []


def test_extension_when_its_file_cannot_be_run_then_the_job_says_so_and_is_done(
    bench: Bench, plain: Any, tmp_path: Path
) -> None:
    pixels, _ = bench.paint(dropped(tmp_path, "raise SystemExit(1)", "leaver"))
    assert np.array_equal(pixels, plain[0])
    assert "leaver failed in loading" in bench.warnings[0]


def test_refiner_when_it_takes_over_then_its_conditioning_passes_the_extension_too(
    bench: Bench, tmp_path: Path, starter_checkpoint: Path
) -> None:
    (tmp_path / "other.safetensors").symlink_to(starter_checkpoint)
    text = (
        "from dataclasses import replace\n@hook\ndef after_conditioning(conditioning, job):\n"
        "    job.warn('asked')\n    return replace(conditioning, encode_again=None)\n"
    )
    params = TextToImage(
        prompt="a cat", width=64, height=64, steps=3, seed=5, checkpoint="starter",
        refiner=Refiner(checkpoint="other", switch_at=0.5), extensions={"asked": {}},
    )  # fmt: skip
    facts = {"path": str(tmp_path / "other.safetensors"), "name": "other", "stem": "other",
             "sha256": "cd" * 32, "size": 1}  # fmt: skip
    bench.run(
        params,
        dropped(tmp_path, text, "asked"),
        others={"other": {"checkpoint": facts, "vae": None}},
    )
    assert bench.warnings == ["asked", "asked"]


def test_offers_when_chosen_then_paint_and_are_gone_when_the_extension_is(
    bench: Bench, tmp_path: Path
) -> None:
    pixels, recipe = bench.paint(
        LITTLE / "offers", offers=None, sampler="Little Euler", schedule="Straight line",
        hires=Hires(scale=2, upscaler="Little larger", denoising_strength=0.5),
        restore_faces=FaceRestoration(model="Little faces"),
    )  # fmt: skip
    assert "Sampler: Little Euler, Schedule type: Straight line" in recipe
    assert pixels.shape == (128, 128, 3)
    assert np.array_equal(pixels, np.full_like(pixels, 0) + np.array([255, 0, 0], np.uint8))
    assert bench.warnings == []
    bench.paint(dropped(tmp_path, "@hook\ndef before_job(): ...\n", "other"))
    assert "Little Euler" not in SAMPLERS_BY_NAME


def test_offer_when_it_fails_then_the_job_fails_and_names_the_extension(
    bench: Bench, tmp_path: Path
) -> None:
    text = (
        "def enlarge(image, width, height): raise MemoryError('too large')\n"
        "@hook\ndef upscalers(): return [Upscaler('Hungry', enlarge)]\n"
    )
    with pytest.raises(ExtensionError, match="'Hungry' of the extension hungry failed: Memory"):
        bench.paint(
            dropped(tmp_path, text, "hungry"), hires=Hires(upscaler="Hungry", scale=2), hungry=None
        )


def test_own_jobs_and_the_extras_step_when_run_then_give_their_results(
    bench: Bench, tmp_path: Path
) -> None:
    own = LITTLE / "own_work"
    job = ExtensionJob(extension="own_work", task="count", extensions={"own_work": {"upto": 4}})
    assert bench.run(job, own)["upto"] == 4
    failing = job.model_copy(update={"task": "fail"})
    with pytest.raises(ExtensionError, match="ValueError: on purpose"):
        bench.run(failing, own)
    Image.new("RGB", (8, 8), "black").save(tmp_path / "in.png")
    key = "cd" * 32
    inputs = {"inputs": {key: str(tmp_path / "in.png")}}
    bench.run(Extras(images=(key,), extensions={"own_work": {}}), own, **inputs)
    (picture,) = bench.heard.of("image")
    assert open_picture(picture["image"]).getpixel((0, 0)) == (255, 255, 255)
    tagged = bench.run(
        Interrogate(describer="Little tagger", image=key), LITTLE / "offers",
        describer={"kind": "extension", "name": "Little tagger"}, **inputs,
    )  # fmt: skip
    assert tagged["caption"] == r"8 wide \(a bracket\)"


def test_cfg_rescale_when_switched_on_then_changes_the_picture_and_at_0_it_does_not(
    bench: Bench, plain: Any
) -> None:
    extension = BUILT_IN / "cfg_rescale"
    changed, _ = bench.paint(extension, cfg_rescale={"strength": 1.0})
    same, _ = bench.paint(extension, cfg_rescale={"strength": 0.0})
    assert np.array_equal(same, plain[0]) and not np.array_equal(changed, plain[0])
    assert bench.warnings == []


def test_rescaled_when_strength_is_one_then_v_has_the_spread_of_the_prompts_own() -> None:
    import torch

    from webui.built_in_extensions.cfg_rescale.model import rescaled

    torch.manual_seed(0)
    latents, cond, uncond = (torch.randn(2, 4, 8, 8) for _ in range(3))
    sigma, guided = 1.7, uncond + 9 * (cond - uncond)
    share = (1 + sigma**2) ** 0.5

    def v(estimate: torch.Tensor) -> torch.Tensor:  # of a variance-preserving network
        noise = (latents - estimate) / sigma
        return noise / share - estimate * sigma / share

    def spread(estimate: torch.Tensor) -> torch.Tensor:
        return v(estimate).std(dim=(1, 2, 3))

    found = rescaled(latents, guided, cond, sigma, 1.0)
    assert torch.allclose(spread(found), spread(cond), rtol=1e-4)
    assert torch.allclose(rescaled(latents, guided, cond, sigma, 0.0), guided, rtol=1e-4, atol=1e-4)
