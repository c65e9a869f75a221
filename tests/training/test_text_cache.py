"""Encoded captions on disk: used again for the same words and encoders, for no others."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.training.pictures import options, picture
from tests.training.small_training import options_of, train
from tests.training.test_sdxl import base  # noqa: F401  (a fixture)
from webui.checkpoints.load import load_checkpoint
from webui.errors import DatasetError
from webui.params import TrainingOptions
from webui.prompts.tokenizer import ClipTokenizer
from webui.training.base import Base, TextEncoder
from webui.training.dataset import open_dataset
from webui.training.text_cache import TextCache, Told, encoders_key
from webui.training.texts import CaptionEncoder

_tokenizer = functools.cache(ClipTokenizer.load)
STEMS = {"a zork": "小明 01", "a zork, red": "b"}


class _Counted(CaptionEncoder):
    """Counts what it really encodes."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.encoded = 0

    def _encode(self, captions: Any) -> Told:
        self.encoded += 1
        return super()._encode(captions)


@pytest.fixture(scope="module")
def texts(starter_checkpoint: Path) -> list[TextEncoder]:
    return Base.of(load_checkpoint(starter_checkpoint, for_painting=False)).texts


def _encoded(texts: list[TextEncoder], caption: str, cache: TextCache, **more: Any) -> int:
    """How often the network was asked, for a caption whose encoding is then looked at."""
    encoder = _Counted(texts, _tokenizer(), **more)
    encoder.keep([caption], cache)
    found = encoder.encode([caption]).states
    plain = CaptionEncoder(texts, _tokenizer(), **more)
    with torch.no_grad():
        assert torch.equal(found, plain.encode([caption]).states)
    return encoder.encoded


def test_captions_when_the_same_then_read_and_otherwise_encoded(
    texts: list[TextEncoder], tmp_path: Path
) -> None:
    def asked(caption: str = "a zork", encoders: str = "one", **more: Any) -> int:
        return _encoded(texts, caption, TextCache(tmp_path, encoders, STEMS), **more)

    assert (asked(), asked()) == (1, 0)
    (file,) = tmp_path.iterdir()
    assert file.name.startswith("小明 01_") and file.name.endswith("_te_outputs.npz")
    assert np.load(file).files == ["hidden_state1"]
    for changes in (
        {"caption": "a zork, red"}, {"encoders": "two"}, {"clip_skip": 2}, {"length": 150},
        {"is_weighted": True, "caption": "a (zork:1.3)"},
    ):  # fmt: skip
        assert (asked(**changes), asked(**changes)) == (1, 0), changes


@pytest.mark.parametrize(
    "damage",
    [
        lambda file: file.write_bytes(file.read_bytes()[:60]),
        lambda file: np.savez(file, hidden_state1=np.full((77, 64), np.nan, np.float32)),
        lambda file: np.savez(file, other=np.zeros(3)),
    ],
)
def test_captions_when_a_file_is_damaged_then_encoded_anew(
    texts: list[TextEncoder], tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    _encoded(texts, "a zork", TextCache(tmp_path, "", STEMS))
    damage(next(tmp_path.iterdir()))
    assert _encoded(texts, "a zork", TextCache(tmp_path, "", STEMS)) == 1
    assert _encoded(texts, "a zork", TextCache(tmp_path, "", STEMS)) == 0


def test_captions_when_there_are_two_encoders_then_kohyas_arrays(
    base: Base,  # noqa: F811
    tmp_path: Path,
) -> None:
    assert _encoded(base.texts, "", TextCache(tmp_path, "", {})) == 1
    (file,) = tmp_path.iterdir()
    shapes = {name: array.shape for name, array in np.load(file).items()}
    assert shapes == {"hidden_state1": (77, 8), "hidden_state2": (77, 16), "pool2": (16,)}
    assert file.name.startswith("empty_")
    encoder = _Counted(base.texts, _tokenizer())
    encoder.keep([""], TextCache(tmp_path, "", {}))
    with torch.no_grad():
        told = CaptionEncoder(base.texts, _tokenizer()).encode([""])
    pooled = encoder.encode([""]).pooled
    assert encoder.encoded == 0 and pooled is not None and told.pooled is not None
    assert torch.equal(pooled, told.pooled)


def test_captions_when_the_disk_is_full_then_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    cache = TextCache(tmp_path / "file" / "below", "", {})
    with pytest.raises(DatasetError, match="could not be kept"):
        cache.write("a", "a", Told(torch.zeros(1, 77, 8)))


def test_encoders_when_another_checkpoint_or_merged_file_then_another_key(tmp_path: Path) -> None:
    folder = tmp_path / "text_encoder"
    folder.mkdir()
    weights = folder / "model.safetensors"
    weights.write_bytes(b"1")
    plain = TrainingOptions()
    merged = TrainingOptions(base_weights=(str(weights),))

    def key(options: TrainingOptions = plain, sha: str = "", dtype: object = torch.float32) -> str:
        return encoders_key(options, tmp_path, sha, dtype)

    first = key()
    keys = {first, key(sha="a"), key(sha="b"), key(merged), key(dtype=torch.bfloat16)}
    heavier = merged.model_copy(update={"base_weights_multiplier": (0.5,)})
    weights.write_bytes(b"22")
    assert len(keys | {key(), key(heavier)}) == 7 and key() != first


def test_training_when_it_keeps_captions_on_disk_then_the_next_one_finds_them(
    starter_checkpoint: Path, tmp_path: Path
) -> None:
    picture(tmp_path / "in" / "小明.png", caption="a zork")
    told = options(tmp_path / "in", repeats=1)
    dataset = open_dataset(told, (), 1, cache_folder=tmp_path / "cache" / "latents")
    wish = options_of(max_train_epochs=1, cache_text_encoder_outputs_to_disk=True)
    train(starter_checkpoint, tmp_path / "out", wish, dataset)  # type: ignore[arg-type]

    (file,) = (tmp_path / "cache" / "texts").iterdir()
    assert file.name.startswith("小明_")
    before = file.stat().st_mtime_ns
    train(starter_checkpoint, tmp_path / "again", wish, dataset)  # type: ignore[arg-type]
    assert file.stat().st_mtime_ns == before
