"""A training in the queue, with the real worker; and as a command."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageDraw

from tests.patience import wait_until
from webui.checkpoints.headers import read_header
from webui.errors import JobError, ParamsError
from webui.model_process.train_run import translator
from webui.params import TextToImage, TrainLora
from webui.params.training import TrainingOptions
from webui.prompts.tokenizer import ClipTokenizer
from webui.services.training.trainings import foresee
from webui.settings import read_settings
from webui.studio import Studio
from webui.train_command import check_unfinished, main
from webui.training.steps import STATE_FACTS
from webui.training.texts import CaptionEncoder


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """A folder with a blank and Chinese in its name, in kohya's layout."""
    folder = tmp_path / "my 图片"
    (folder / "2_zork").mkdir(parents=True)
    for number, colour in enumerate(("red", "blue")):
        image = Image.new("RGB", (64, 64), colour)
        ImageDraw.Draw(image).ellipse((16, 16, 48, 48), fill="yellow")
        image.save(folder / "2_zork" / f"{number}.png")
        (folder / "2_zork" / f"{number}.txt").write_text("a zork")
    return folder


def options(checkpoint: Path, pictures: Path, **changed: Any) -> dict[str, Any]:
    return {
        "pretrained_model_name_or_path": str(checkpoint), "train_data_dir": str(pictures),
        "resolution": "64", "caption_extension": ".txt", "output_name": "佐克", "network_dim": 2,
        "cache_latents": True, "network_train_unet_only": True, "unet_lr": 1e-3, "seed": 3,
        **changed,
    }  # fmt: skip


@pytest.fixture
def real_studio(tmp_path: Path) -> Iterator[Studio]:
    settings = read_settings(["--data-dir", str(tmp_path / "data"), "--threads", "1"], environ={})
    studio = Studio(settings)
    studio.start()
    yield studio
    studio.stop()


def test_training_when_queued_then_pauses_lets_others_paint_goes_on_and_ends_in_the_gallery(
    real_studio: Studio, starter_checkpoint: Path, pictures: Path
) -> None:
    wish = options(starter_checkpoint, pictures, max_train_epochs=12)

    def foretold_by() -> str:
        found = foresee(real_studio, TrainingOptions(**wish)).estimate
        return found.time.source if found else ""

    wait_until(lambda: foretold_by() == "device")  # nothing was done here yet
    assert "memory_bytes" in real_studio.worker_facts, "which preset fits a card"
    job = real_studio.submit(TrainLora(options=TrainingOptions(**wish)))

    def told() -> Any:
        live = real_studio.live.get(job.id)
        return live.training if live else None

    wait_until(told)
    assert foretold_by() == "device", "what was measured is known while it works"
    assert {"loss", "average_loss", "rates", "steps_per_second", "memory_bytes"} <= told().keys()
    painting = real_studio.submit(
        TextToImage(
            checkpoint=starter_checkpoint.name, prompt="a cat", width=64, height=64, steps=1
        )
    )
    real_studio.control.pause_job(job.id)
    wait_until(lambda: real_studio.jobs.get(job.id).is_paused)
    assert real_studio.jobs.get(job.id).state == "queued"
    assert real_studio.wait(painting.id, 60).state == "done", "the device was free"
    assert real_studio.jobs.get(job.id).is_paused
    real_studio.control.resume_job(job.id)
    done = real_studio.wait(job.id, 120)
    assert done.state == "done" and done.result is not None, done.error
    assert done.result["steps"] == 48
    again = foresee(real_studio, TrainingOptions(**wish)).estimate
    assert again is not None and foretold_by() == "trainings"
    assert again.time.seconds > done.result["seconds"], "that of the steps after the pause alone"
    file = Path(done.result["files"][-1])
    history = (file.parent / done.result["history"]).read_text(encoding="utf-8").splitlines()
    steps = [row["step"] for row in map(json.loads, history) if "kind" not in row]
    assert steps == list(range(1, 49)), "each step once, over the pause"
    assert real_studio.catalog.find_lora("佐克").path == file
    assert not list((real_studio.settings.folders.database.parent / "training").glob("job-*"))


def test_painting_when_it_runs_then_cannot_be_paused(studio: Studio) -> None:
    job = studio.submit(TextToImage(checkpoint="starter-emoji", width=64, height=64))
    studio.control.pause_job(job.id)
    assert studio.jobs.claim("me") is None, "what waits can be paused, whatever it is"
    studio.control.resume_job(job.id)
    assert studio.jobs.claim("me") is not None
    with pytest.raises(JobError, match="cannot be paused"):
        studio.control.pause_job(job.id)


def test_command_when_run_then_file_samples_and_log_are_there(
    starter_checkpoint: Path, pictures: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, log = tmp_path / "out", tmp_path / "log"
    words = [f"--{name}={value}" for name, value in options(starter_checkpoint, pictures).items()
             if not isinstance(value, bool)]  # fmt: skip
    words += [
        "--cache_latents", "--network_train_unet_only", f"--output_dir={folder}", "--device=cpu",
        f"--logging_dir={log}", "--max_train_steps=2", "--sample_every_n_steps=2", "--no-such=1",
        "--sample_weights=1,-4", "--translate_captions", "--trigger_words=小狗",
        "--sample_prompts=a zork --w 64 --h 64 --s 2 --d 9",
    ]  # fmt: skip
    assert main(words) == 0, capsys.readouterr().err
    told = capsys.readouterr().out
    assert '"no_such" is unknown' in told and "step 2/2" in told
    assert (folder / "佐克.safetensors").is_file()
    told_in_file = read_header(folder / "佐克.safetensors").metadata
    assert told_in_file["modelspec.trigger_phrase"] == "puppy", "what other programs may paint"
    (sample,) = (folder / "sample").glob("佐克_000002_00_*_9.png")
    with Image.open(sample) as image:
        assert image.size == (64, 64)
    (other,) = (folder / "sample").glob("佐克_000002_01_*_9.png")
    assert other.read_bytes() != sample.read_bytes(), "painted at another weight of the LoRA"
    (events,) = log.glob("*/network_train/events.out.tfevents.*")
    assert b"loss/average" in events.read_bytes() and b"lr/unet" in events.read_bytes()
    assert main(words) == 2, "the file would be overwritten"
    assert "would be overwritten" in capsys.readouterr().err


def test_captions_when_in_chinese_then_learnt_in_the_english_that_prompts_are_painted_in(
    tmp_path: Path,
) -> None:
    tokenizer = ClipTokenizer.load()
    english = CaptionEncoder([], tokenizer)._tokens("puppy, red coat, zork dragon")
    (tmp_path / "own.csv").write_text("佐克龙,zork dragon\n", encoding="utf-8")
    say = translator(TrainingOptions(translate_captions=True), tmp_path)
    caption = "小狗, 红色大衣, 佐克龙"
    assert CaptionEncoder([], tokenizer, say=say)._tokens(caption) == english
    asks_for_nothing = translator(TrainingOptions(), tmp_path)
    assert asks_for_nothing(caption) == caption
    assert "puppy" in translator(TrainingOptions(translate_captions=True), None)(caption)


def test_command_when_a_training_was_not_finished_then_its_state_is_taken_only_when_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    autosave = Path("out/zork-autosave")
    check_unfinished(autosave, "")
    older = tmp_path / "out/zork-autosave.old"  # a crash while the newer one was written
    older.mkdir(parents=True)
    (older / STATE_FACTS).write_text("{}")
    with pytest.raises(ParamsError, match="was not finished") as found:
        check_unfinished(autosave, "")
    assert "--resume" in found.value.hint and "zork-autosave.old" in found.value.hint
    older.rename(tmp_path / autosave)
    check_unfinished(autosave, str(tmp_path / autosave))


def test_command_when_the_options_are_written_then_the_file_is_not_overwritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "my.toml"
    words = ["--config_file", str(file), "--output_config", "--network_dim=8"]
    file.write_text("seed = 3\n")
    assert main(words) == 2
    assert "is not overwritten" in capsys.readouterr().err
