"""One training in several processes: the work is shared, the LoRA is one."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch

from tests.training.pictures import picture
from webui.errors import ParamsError
from webui.model_process import train_processes
from webui.params.training import TrainingOptions
from webui.train_command import main
from webui.training.batch import Plan
from webui.training.dataset import open_dataset

MOST_DIFFERENCE = 1e-5
"""Between LoRAs whose gradients were added up in another order, in weights up to 1."""


def words(checkpoint: Path, place: Path, output: str, *more: str) -> list[str]:
    return [
        f"--pretrained_model_name_or_path={checkpoint}", f"--train_data_dir={place / '图 片'}",
        "--resolution=64", "--caption_extension=.txt", "--output_name=佐克", "--network_dim=2",
        "--cache_latents_to_disk", "--unet_lr=1e-3", "--text_encoder_lr=1e-3", "--seed=3",
        "--network_dropout=0.1", "--max_train_epochs=2", "--no_times", "--save_state",
        f"--output_dir={place / output}", f"--logging_dir={place / output / 'log'}",
        "--device=cpu", *more,
    ]  # fmt: skip


def test_training_when_in_two_processes_then_as_one_that_adds_up_two_batches(
    starter_checkpoint: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    for number in range(4):
        picture(tmp_path / "图 片/1_zork" / f"{number}.png", caption=f"a zork, {number}")
    told_by = ["--sample_prompts=a zork --w 64 --h 64 --s 1 --d 1", "--sample_every_n_epochs=2"]
    both = words(starter_checkpoint, tmp_path, "two", "--num_processes=2", *told_by)
    assert main(both) == 0, capfd.readouterr().err
    told = capfd.readouterr().out
    assert told.count("step 4/4") == told.count("saved ") == 1, "the first alone speaks"
    one = words(starter_checkpoint, tmp_path, "one", "--gradient_accumulation_steps=2")
    assert main(one) == 0, capfd.readouterr().err
    files = [safetensors.torch.load_file(tmp_path / name / "佐克.safetensors")
             for name in ("one", "two")]  # fmt: skip
    assert files[0].keys() == files[1].keys()
    farthest = max(float((files[0][k] - files[1][k]).abs().max()) for k in files[0])
    assert farthest <= MOST_DIFFERENCE
    assert len(list((tmp_path / "two").glob("*.safetensors"))) == 1
    assert len(list((tmp_path / "two/sample").glob("*.png"))) == 1
    assert len(list((tmp_path / "two/log").rglob("events.*"))) == 1, "one log"
    history = (tmp_path / "two/佐克-history.jsonl").read_text(encoding="utf-8").splitlines()
    assert sum('"loss"' in line for line in history) == 4, "each step once"
    assert main(words(starter_checkpoint, tmp_path, "three",
                      f"--resume={tmp_path / 'two/佐克-state'}")) == 2  # fmt: skip
    assert "processes 2; this job has processes 1" in capfd.readouterr().err


def test_inputs_when_bad_in_two_processes_then_told_once(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["--unet_lr=fast", "--num_processes=2"]) == 2
    assert capfd.readouterr().err.count("is not a number") == 1


@pytest.mark.parametrize("asked", ["0", "two", "65", "-1", "1.5"])
def test_processes_when_no_number_then_said(asked: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([f"--num_processes={asked}"]) == 2
    assert f'"{asked}" is no number of processes' in capsys.readouterr().err


def test_processes_when_more_than_cards_then_said(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    monkeypatch.setenv("LOCAL_WORLD_SIZE", "3")
    monkeypatch.setattr(torch.accelerator, "device_count", lambda: 1)
    train_processes.check_devices("cpu")
    with pytest.raises(ParamsError, match="3 processes need 3 cards; this machine has 1"):
        train_processes.check_devices("cuda")


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_batches_when_shared_out_then_each_process_has_as_many_and_none_is_left_out(
    tmp_path: Path, count: int
) -> None:
    for number in range(2):
        picture(tmp_path / "1_zork" / f"{number}.png", caption=f"zork {number}")
    options = TrainingOptions(
        train_data_dir=str(tmp_path), caption_extension=".txt", resolution=(64, 64)
    )
    dataset = open_dataset(options, (), 1)
    shares = [
        [batch.captions for batch in dataset.batches(1, Plan(1, 1, 1, process, count))]
        for process in range(count)
    ]
    assert len({len(share) for share in shares}) == 1, "they wait for each other"
    assert {one for share in shares for one in share} == {("zork 0",), ("zork 1",)}
