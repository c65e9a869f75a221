"""Taggers and captioners: found, read, asked; captions that are written with what they say."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from transformers import BlipForConditionalGeneration

from tests.describing.small_describers import (
    damage_captioner,
    write_captioner,
    write_tagger,
)
from tests.training.pictures import GREEN, picture
from webui.checkpoints.describers import find_describers, missing_describer
from webui.describing.blip import Blip
from webui.describing.tagger import Tagger
from webui.errors import CheckpointError
from webui.model_process.describer import caption_pictures, interrogate, opened
from webui.params import CaptionPictures, Interrogate
from webui.progress import Silent
from webui.restoration.networks import Shelf
from webui.training.captions import described

RED = Image.new("RGB", (40, 40), "red")
CPU = torch.device("cpu")


# Found


def test_describers_when_looked_for_then_found_by_their_files_in_any_of_the_folders(
    tmp_path: Path,
) -> None:
    models = tmp_path / "模型 models"
    swin = write_tagger(models / "Taggers" / "wd-swinv2-tagger-v3")
    deep = write_tagger(models / "wd14_tagger_model" / "SmilingWolf" / "wd-vit")
    same = write_tagger(models / "tagger" / "wd-vit")
    blip = write_captioner(models / "BLIP" / "blip base")
    half = models / "Taggers" / "half"
    half.mkdir()
    (half / "model.onnx").write_bytes(b"")
    (models / "BLIP" / "model.safetensors").write_bytes(b"")
    (models / "BLIP" / "config.json").write_text("[" * 100_000)

    found = find_describers((models, models, tmp_path / "none"))

    assert [one.kind for one in found] == ["tagger", "tagger", "tagger", "captioner"]
    assert {one.folder for one in found} == {swin, deep, same, blip} and found[3].folder == blip
    assert len({one.name for one in found}) == 4


@pytest.mark.parametrize(("kind", "file"), [("tagger", "model.onnx"), ("captioner", "config.json")])
def test_describer_when_missing_then_files_and_folder_are_named(kind: Any, file: str) -> None:
    told = str(missing_describer(kind))
    assert file in told and "models/" in told


# The tagger


def test_tagger_when_asked_then_sure_tags_are_said_characters_first(tmp_path: Path) -> None:
    tagger = Tagger(write_tagger(tmp_path / "t"))
    assert tagger.describe(RED, 0.35, 0.75) == "alice (story), red coat, ^_^"
    assert tagger.describe(RED, 0.35, 0.85) == "red coat, ^_^"
    assert tagger.describe(RED, 0.8, 0.85) == "red coat"
    assert tagger.describe(Image.new("RGB", (9, 9), (0, 255, 0)), 0.35, 0.85) == "green hat"


def test_tagger_when_a_picture_is_transparent_or_long_then_the_rest_is_white(
    tmp_path: Path,
) -> None:
    tagger = Tagger(write_tagger(tmp_path / "t"))
    clear = Image.new("RGBA", (40, 40), (255, 0, 0, 0))
    assert tagger.describe(clear, 0.35, 0.85) == tagger.describe(
        Image.new("RGB", (40, 40), "white"), 0.35, 0.85
    )
    thin = Image.new("RGB", (40, 4), "red")  # nine tenths of its square are white
    assert "red coat" not in tagger.describe(thin, 0.35, 0.85)


def _no_network(folder: Path) -> None:
    (folder / "model.onnx").write_bytes(b"no network")


def _no_list(folder: Path) -> None:
    (folder / "selected_tags.csv").write_bytes(b"a,b\n1,2")


def _another_list(folder: Path) -> None:
    (folder / "selected_tags.csv").write_text("tag_id,name,category,count\n1,cat,0,1")


@pytest.mark.parametrize(
    ("damage", "told"),
    [(_no_network, "cannot read it"), (_no_list, "no list of a tagger's tags"),
     (_another_list, "5 answers for 1 tags")],
)  # fmt: skip
def test_tagger_when_files_are_wrong_then_says_which(
    tmp_path: Path, damage: Callable[[Path], None], told: str
) -> None:
    damage(write_tagger(tmp_path / "t"))
    with pytest.raises(CheckpointError, match=told):
        Tagger(tmp_path / "t").describe(RED, 0.35, 0.85)


# The captioner


@pytest.mark.parametrize("is_pickle", [False, True])
def test_captioner_when_read_then_says_what_transformers_say(
    tmp_path: Path, is_pickle: bool
) -> None:
    folder = write_captioner(tmp_path / "b")
    theirs = BlipForConditionalGeneration.from_pretrained(folder).eval()
    ours = Blip(write_captioner(tmp_path / "c", is_pickle=is_pickle), CPU)
    said = set()
    for colour in ("red", "white", "blue"):
        image = Image.new("RGB", (32, 32), colour)
        told = theirs.generate(
            pixel_values=ours._pixels(image), max_new_tokens=40, num_beams=3, do_sample=False
        )
        words = " ".join(f"w{token - 7}" for token in told[0].tolist() if token > 6)
        assert ours.describe(image, 0, 0) == words
        said.add(words)
    assert len(said) > 1  # it does look


def test_captioner_when_given_a_picture_then_it_is_sized_and_scaled_as_it_was_trained(
    tmp_path: Path,
) -> None:
    folder = write_captioner(tmp_path / "b")
    white = Blip(folder, CPU)._pixels(Image.new("RGBA", (9, 5), (255, 0, 0, 0)))
    assert white.shape == (1, 3, 32, 32)
    wanted = [(1 - 0.48145466) / 0.26862954, (1 - 0.4578275) / 0.26130258,
              (1 - 0.40821073) / 0.27577711]  # fmt: skip
    assert torch.allclose(white[0, :, 7, 7], torch.tensor(wanted), atol=1e-5)
    scale = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.25, 0.5, 1]}
    (folder / "preprocessor_config.json").write_text(json.dumps(scale))
    red = Blip(folder, CPU)._pixels(RED)
    assert red[0, :, 7, 7].tolist() == [2, -1, -0.5]


def test_captioner_when_weights_are_another_networks_then_says_so(tmp_path: Path) -> None:
    damage_captioner(write_captioner(tmp_path / "b"))
    with pytest.raises(CheckpointError, match="tensors are missing"):
        Blip(tmp_path / "b", CPU)


# Captions


@pytest.mark.parametrize(
    ("now", "rule", "prefix", "after"),
    [
        ("mine", "missing", "me", "mine"),
        ("", "missing", "me", "me, red coat, smile"),
        ("mine, Smile", "before", "", "red coat, smile, mine"),
        ("mine, me", "before", "me", "me, red coat, smile, mine"),
        ("mine", "replace", "me, ", "me, red coat, smile"),
        ("mine", "replace", "", "red coat, smile"),
    ],
)
def test_caption_when_described_then_follows_the_rule(
    now: str, rule: Any, prefix: str, after: str
) -> None:
    assert described(now, "red coat, smile", rule, prefix) == after


class _Progress(Silent):
    def __init__(self, stop_after: int = 99) -> None:
        self.told: list[tuple[int, int]] = []
        self._stop_after = stop_after

    def step(self, done: int, total: int) -> None:
        self.told.append((done, total))

    def is_interrupted(self) -> bool:
        return self.told[-1][0] >= self._stop_after


def _set(tmp_path: Path, **changes: Any) -> CaptionPictures:
    files = [
        picture(tmp_path / "a.png", colour="red", caption="mine"),
        picture(tmp_path / "b.png", colour="red"),
        tmp_path / "broken.png",
        picture(tmp_path / "小 d.png", colour=GREEN),
    ]
    files[2].write_bytes(b"no picture")
    paths = tuple(map(str, files))
    return CaptionPictures(describer="t", pictures=paths, threshold=0.05, prefix="me", **changes)


def test_captions_when_written_then_only_where_wanted_and_bad_pictures_are_told(
    tmp_path: Path,
) -> None:
    params, progress, warned = _set(tmp_path), _Progress(), []
    tagger = Tagger(write_tagger(tmp_path / "t"))

    result = caption_pictures(params, tagger, progress, warned.append)

    assert result == {"written": 2, "interrupted": False}
    assert (tmp_path / "a.txt").read_text() == "mine"
    assert (tmp_path / "b.txt").read_text() == "me, red coat, ^_^"
    assert (tmp_path / "小 d.txt").read_text().startswith("me")
    assert warned[0].startswith('"broken.png"') and not (tmp_path / "broken.txt").exists()
    assert progress.told == [(at, 4) for at in range(5)]
    again = params.model_copy(update={"rule": "replace"})
    assert caption_pictures(again, tagger, _Progress(), warned.append)["written"] == 1  # a alone


def test_captions_when_interrupted_then_what_was_written_stays(tmp_path: Path) -> None:
    tagger = Tagger(write_tagger(tmp_path / "t"))
    result = caption_pictures(_set(tmp_path), tagger, _Progress(stop_after=2), pytest.fail)
    assert result == {"written": 1, "interrupted": True}
    assert (tmp_path / "b.txt").exists() and not (tmp_path / "小 d.txt").exists()


def test_interrogate_when_asked_then_brackets_weigh_nothing_and_the_network_is_kept(
    tmp_path: Path,
) -> None:
    folder = write_tagger(tmp_path / "t")
    params = Interrogate(describer="t", image="0" * 64, character_threshold=0.7, threshold=0.8)
    RED.save(tmp_path / "kept", "PNG")
    message = {
        "inputs": {params.image: str(tmp_path / "kept")},
        "describer": {"kind": "tagger", "folder": str(folder)},
    }
    shelf = Shelf(CPU)
    tagger = opened(message, shelf)

    assert interrogate(params, tagger, message) == {"caption": r"alice \(story\), red coat"}
    assert opened(message, shelf) is tagger
