"""What is offered after a failure, what it changes, and how the card shows it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from tests.patience import wait_until
from tests.ui.conftest import Served
from webui import errors
from webui.errors import CheckpointError, JobError, WebUIError
from webui.params import AnyParams, Extras, Hires, ImageToImage, TextToImage, build
from webui.params.painting import DrawnTexts
from webui.restoration.detect import open_detector
from webui.services import remedies
from webui.services.remedies import Ground
from webui.services.resolve import TextToImageRequest
from webui.ui import cards, failures, results
from webui.ui.cards import warnings_list
from webui.ui.help_texts import HELP_TEXTS
from webui.ui.session import Visitor

PLAIN = TextToImage(prompt="a fox", width=512, height=768)
SAID_BY = Path(errors.__file__).parent / "pipelines" / "loras.py"
KEYS = "a" * 64, "b" * 64


def but(**values: Any) -> TextToImage:
    """The plain request with other values."""
    return cast(TextToImage, build("txt2img", {**dict(PLAIN), **values}))


# Which ways there are


def test_every_way_of_the_table_is_known_to_the_page_and_belongs_to_an_error() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type)]
    codes = {kind.code for kind in kinds if issubclass(kind, WebUIError)}
    assert set(remedies._AFTER) | set(failures.PLACES) <= codes
    ways = {way for after in remedies._AFTER.values() for way in after}
    assert ways == set(remedies._WAYS)
    shown = {f"help_{way}" for way in ways} | {f"help_to_{p}" for p in failures.PLACES.values()}
    assert shown <= set(HELP_TEXTS)


@pytest.mark.parametrize(
    ("code", "params", "ways"),
    [
        ("device_memory", PLAIN, ("in_tiles", "smaller")),
        ("device_memory", but(batch_size=4), ("one_by_one", "in_tiles", "smaller")),
        ("device_memory", but(width=64, height=64, tiled_vae=True), ()),
        ("model_too_large", PLAIN, ("one_byte",)),
        ("broken_values", PLAIN, ("own_vae",)),
        (
            "broken_values",
            but(prompt="a fox <lora:x:1>", cfg_scale=20, vae="None"),
            ("without_networks", "calmer"),
        ),
        ("model_process", PLAIN, ("smaller",)),
        ("disk_full", PLAIN, ()),
        ("device_memory", Extras(images=KEYS), ()),
        ("device_memory", None, ()),
        (
            "device_memory",
            ImageToImage(init_images=KEYS, batch_size=2),  # pictures belong to their batches
            ("in_tiles", "smaller"),
        ),
    ],
)
def test_only_what_changes_the_request_is_offered(
    code: str, params: AnyParams | None, ways: tuple[str, ...]
) -> None:
    assert tuple(remedies.offered(code, params, Ground())) == ways


@pytest.mark.parametrize(
    ("code", "ground", "ways"),
    [
        ("broken_values", Ground(is_half=True), ("in_float32", "own_vae")),
        ("broken_values", Ground(is_half=True, is_basic=True), ("in_float32",)),
        ("model_too_large", Ground(is_basic=True), ()),
        ("device_memory", Ground(is_basic=True), ("smaller",)),
    ],
)
def test_only_what_changes_something_where_it_is_painted_is_offered(
    code: str, ground: Ground, ways: tuple[str, ...]
) -> None:
    assert tuple(remedies.offered(code, PLAIN, ground)) == ways
    assert "in_float32" not in remedies.offered(code, but(no_half=True), ground)


def test_a_way_changes_that_alone() -> None:
    assert remedies.apply(PLAIN, "smaller") == but(width=384, height=576)
    assert remedies.apply(but(hires=Hires(scale=2)), "smaller") == PLAIN
    alone = remedies.apply(but(batch_size=3, batch_count=2), "one_by_one")
    assert alone == but(batch_size=1, batch_count=6)
    assert remedies.apply(but(prompt="a fox <lora:x:1>"), "without_networks") == PLAIN
    assert remedies.apply(PLAIN, "in_float32") == but(no_half=True)


def test_without_networks_means_every_text_of_the_request() -> None:
    """Each picture's own prompt and those of the second pass, which are what is painted."""
    mention = " <lora:x:1>"
    drawn = DrawnTexts(template="{a|b}" + mention, prompts=("a" + mention, "b"))
    hires = Hires(scale=2, prompt="sharp" + mention)
    params = but(prompt="a" + mention, negative_prompt="bad" + mention, drawn=drawn, hires=hires)
    plain = remedies.apply(params, "without_networks")
    assert "<lora" not in plain.to_json()
    assert isinstance(plain, TextToImage) and plain.drawn and plain.drawn.prompts == ("a", "b")


@pytest.mark.parametrize("way", ["nonsense", "own_vae"])
def test_what_is_no_way_is_refused(way: str) -> None:
    with pytest.raises(JobError, match="cannot be asked for"):
        remedies.apply(but(vae="None"), way)


@pytest.mark.parametrize("code", ["params", "prompt_syntax"])
def test_refused_values_are_not_offered_again(code: str) -> None:
    assert not cards.can_retry({"code": code}) and cards.can_retry({"code": "job"})


# How they are shown


@pytest.fixture(scope="module")
def studio(make_served: Callable[..., Served]) -> Any:
    return make_served().studio


def ended(studio: Any, job_id: int) -> Any:
    wait_until(lambda: studio.view(job_id).is_finished, "the job never ended")
    return studio.jobs.get(job_id)


def test_a_failed_job_is_painted_again_in_the_way_that_its_card_offers(studio: Any) -> None:
    wish = TextToImageRequest(prompt="fail", width=128, height=64, steps=2)
    failed = ended(studio, studio.submit(wish, client="me").id)
    for language, text in (("en", "Paint it smaller"), ("zh", "画小一些")):
        card = failures.card(studio, failed, language)
        assert f'data-job="{failed.id}" data-way="smaller">{text}<' in card
    results.retry(studio, failed.id, Visitor("me", ""), "smaller")
    newest = studio.jobs.current("me", ("txt2img",))
    assert newest.id != failed.id
    params = studio.params_of(newest)
    assert (params.width, params.height) == (96, 64)
    assert params.prompt == "fail"


def painted(studio: Any, client: str) -> Any:
    """A small job of theirs, that has ended."""
    wish = TextToImageRequest(prompt="a fox", width=64, height=64, steps=2)
    return ended(studio, studio.submit(wish, client=client).id)


@pytest.mark.parametrize(
    ("code", "details", "told"),
    [
        ("checkpoint_not_found", {"wanted": 'x"4'}, 'data-go="models" data-find="x&quot;4"'),
        ("disk_full", {}, "Free on this disk: "),
        ("disk_full", {}, 'data-go="gallery"'),
    ],
)
def test_a_card_leads_to_where_something_can_be_done(
    studio: Any, code: str, details: dict[str, str], told: str
) -> None:
    job = painted(studio, "you")
    error = {"code": code, "message": "m", "hint": "h", "details": details}
    assert told in failures._help(studio, job, error, "en")


def test_the_trash_that_fills_the_disk_is_emptied_by_the_button_that_paints_again(
    studio: Any,
) -> None:
    job = painted(studio, "she")
    error = {"code": "disk_full", "message": "m", "hint": "h"}
    pictures = studio.gallery.pictures
    assert "empty_trash" not in failures._help(studio, job, error, "en")

    newest = int(wait_until(lambda: pictures.ids("").tolist(), "the gallery never saw it")[0])
    pictures.trash([newest])
    file = pictures.get(newest).path
    shown = failures._help(studio, job, error, "zh")
    assert f'data-act="empty_trash" data-job="{job.id}">彻底清空回收站（1 张）' in shown
    results.empty_trash(studio, "guest~x")
    assert file.exists(), "what is another's stays"
    results.empty_trash(studio, "")
    assert pictures.counts()["trash"] == 0 and not file.exists()


def test_float32_is_offered_where_the_model_process_calculates_in_half_precision(
    studio: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = painted(studio, "he")
    error = {"code": "broken_values", "message": "m", "hint": "h"}
    for dtype, is_offered in (("float16", True), ("float32", False)):
        monkeypatch.setattr(studio, "worker_facts", {"dtype": dtype})
        shown = failures._help(studio, job, error, "zh")
        assert ('data-way="in_float32">用 float32 全精度绘制<' in shown) is is_offered


def test_the_note_of_a_lora_that_was_left_out_has_a_button() -> None:
    """By what is said: a sentence that is worded anew is noticed here."""
    sentence = " was not applied: "
    assert f'"{{name}}{sentence}' in SAID_BY.read_text(encoding="utf-8")
    assert 'data-take-out="a style"' in warnings_list([f"<lora:a style>{sentence}0 of 3"], "en")
    assert "data-take-out" not in warnings_list(["<lora:x> was left out."], "en")


def test_the_note_of_a_face_detector_that_is_missing_leads_to_it_but_not_for_guests() -> None:
    with pytest.raises(CheckpointError) as caught:
        open_detector({})
    told = [f"Faces were not repainted. {caught.value}"]
    shown = warnings_list(told, "zh")
    assert 'data-go="models" data-find="CenterFace">打开“模型”页<' in shown
    assert "人脸检测模型" in shown and "Faces" not in shown
    assert "data-go" not in warnings_list(told, "en", for_guest=True)
    assert "data-go" not in warnings_list(["<lora:x> was left out."], "en")


HUNGRY = "from webui.hookspecs import hook\n@hook\ndef before_step(latents, step): ...\n"


def test_a_job_without_memory_has_the_model_process_renewed_only_if_strangers_are_loaded(
    make_served: Callable[..., Served],
) -> None:
    studio = make_served().studio

    def starts_after(*prompts: str) -> int:
        for prompt in prompts:
            job = studio.submit(TextToImageRequest(prompt=prompt))
            assert studio.wait(job.id, 60).state == ("failed" if prompt == "fail" else "done")
        return studio.supervisor.worker_starts

    assert starts_after("fail", "a fox") == 1
    folder = studio.settings.folders.data / "extensions"
    folder.mkdir(exist_ok=True)
    (folder / "hungry.py").write_text(HUNGRY)
    studio.refresh_extensions()
    assert starts_after("a fox") == 1
    assert starts_after("fail", "a fox", "a fox") == 2
