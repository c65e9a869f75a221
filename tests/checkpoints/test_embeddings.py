"""Embedding files of every kind: what they say of themselves, and their vectors."""

from __future__ import annotations

import base64
import json
import pickle
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from tests.checkpoints.model_files import SomeFolders, write_safetensors
from webui.checkpoints.catalog import Catalog
from webui.checkpoints.embeddings import EmbeddingFacts, read_embedding_facts
from webui.checkpoints.load_embedding import load_embedding
from webui.errors import CheckpointError, UnsafeCheckpointError

VECTORS = torch.arange(2 * 768, dtype=torch.float32).reshape(2, 768) / 1000


def inversion(vectors: torch.Tensor = VECTORS, **more: Any) -> dict[str, Any]:
    """What A1111 saves."""
    return {
        "string_to_token": {"*": 265},
        "string_to_param": {"*": vectors},
        "name": "inside",
        "step": 1500,
        "sd_checkpoint": "0a1b2c3d",
        "sd_checkpoint_name": "harbour",
        **more,
    }


def as_json(content: Any) -> bytes:
    """As embeddings lie in pictures."""
    return json.dumps(content, default=lambda t: {"TORCHTENSOR": t.tolist()}).encode()


def with_text(path: Path, content: Any) -> Path:
    info = PngInfo()
    info.add_text("sd-ti-embedding", base64.b64encode(as_json(content)).decode())
    Image.new("RGB", (8, 8), "white").save(path, pnginfo=info)
    return path


def with_columns(path: Path, content: Any, *, edge: int = 0, height: int = 96) -> Path:
    """Data in the low four bits of columns beside the picture, its high bits any pattern."""
    data = np.frombuffer(zlib.compress(as_json(content), 9), np.uint8)
    width = -(-len(data) // (height * 3)) + 1
    data = np.resize(data, height * width * 3)
    state, mask = 0, []
    for _ in range(data.size):
        state = (1664525 * state + 1013904223) % 2**32
        mask.append(state % 255 & 0x0F)
    shade = np.random.default_rng(1).integers(1, 15, data.size, dtype=np.uint8) << 4
    low, high = (
        (half ^ np.array(mask, np.uint8) ^ shade).reshape(height, width, 3)
        for half in (data & 0x0F, data >> 4)
    )
    black = np.zeros((height, 1, 3), np.uint8)
    picture = np.full((height, 64, 3), 0x77, np.uint8)
    pixels = np.concatenate([low, black, picture, black, high], axis=1)
    Image.fromarray(np.pad(pixels, ((edge, edge), (edge, edge), (0, 0)))).save(path)
    return path


def torch_file(path: Path, content: Any, **how: Any) -> Path:
    torch.save(content, path, **how)
    return path


def old_parameter_dict(path: Path) -> Path:
    holder = torch.nn.ParameterDict({"*": torch.nn.Parameter(VECTORS)})
    return torch_file(path, inversion(string_to_param=holder))


KINDS: dict[str, Any] = {
    "a.pt": lambda p: torch_file(p, inversion()),
    "old.pt": lambda p: torch_file(p, inversion(), _use_new_zipfile_serialization=False),
    "parameters.pt": old_parameter_dict,
    "first.pt": lambda p: torch_file(p, inversion(string_to_token={"*": torch.tensor(265)})),
    "a.bin": lambda p: torch_file(p, {"<cat-toy>": VECTORS}),
    "half.safetensors": lambda p: write_safetensors(p, {"emb_params": VECTORS.half()}),
    "token.safetensors": lambda p: write_safetensors(p, {"<cat-toy>": VECTORS}),
    "inverted.safetensors": lambda p: write_safetensors(p, {"string_to_param.*": VECTORS}),
    "clip.safetensors": lambda p: write_safetensors(p, {"clip_l": VECTORS}),
    "text.png": lambda p: with_text(p, inversion()),
    "columns.png": lambda p: with_columns(p, inversion()),
    "framed.png": lambda p: with_columns(p, inversion(), edge=3),
}


@pytest.mark.parametrize("name", KINDS)
def test_vectors_when_read_from_any_kind_of_file_are_those_put_in(
    name: str, tmp_path: Path
) -> None:
    path = KINDS[name](tmp_path / name)
    facts = read_embedding_facts(path)
    (vectors,) = load_embedding(path).values()

    assert (facts.vectors, facts.width, facts.family) == (2, 768, "SD 1.x")
    assert vectors.dtype == torch.float32 and torch.allclose(vectors, VECTORS, atol=1e-3)
    assert facts.name == ("inside" if name.endswith(".png") else path.stem)


@pytest.mark.parametrize("name", ["a.pt", "old.pt", "text.png", "columns.png"])
def test_facts_when_the_trainer_stated_them_are_told(name: str, tmp_path: Path) -> None:
    facts = read_embedding_facts(KINDS[name](tmp_path / name))

    assert (facts.step, facts.sd_checkpoint, facts.sd_checkpoint_name) == (
        1500, "0a1b2c3d", "harbour",
    )  # fmt: skip


def test_single_vector_without_rows_is_one_vector(tmp_path: Path) -> None:
    path = torch_file(tmp_path / "one.bin", {"<x>": VECTORS[0]})

    assert read_embedding_facts(path) == EmbeddingFacts("one", 1, 768)
    assert torch.equal(load_embedding(path)[""], VECTORS[:1])


def test_sdxl_file_has_the_width_of_both_encoders_and_two_parts(tmp_path: Path) -> None:
    parts = {"clip_l": VECTORS, "clip_g": torch.ones(2, 1280)}
    path = write_safetensors(tmp_path / "xl.safetensors", parts)
    facts, found = read_embedding_facts(path), load_embedding(path)

    assert (facts.vectors, facts.width, facts.family) == (2, 2048, "SDXL")
    assert found.keys() == parts.keys() and torch.equal(found["clip_l"], VECTORS)


class Evil:
    def __reduce__(self) -> Any:
        return (print, ("it ran",))


BAD: dict[str, Any] = {
    "two.pt": lambda p: torch_file(p, inversion(string_to_param={"*": VECTORS, "b": VECTORS})),
    "lora.safetensors": lambda p: write_safetensors(p, {"a.weight": VECTORS, "b": VECTORS + 1}),
    "square.safetensors": lambda p: write_safetensors(p, {"emb_params": torch.ones(2, 3, 4)}),
    "none.safetensors": lambda p: write_safetensors(p, {"emb_params": torch.ones(0, 768)}),
    "uneven.safetensors": lambda p: write_safetensors(
        p, {"clip_l": torch.ones(2, 768), "clip_g": torch.ones(3, 1280)}
    ),
    "cut.pt": lambda p: p.write_bytes(
        torch_file(p, inversion()).read_bytes()[:2000]
    ),
    "plain.png": lambda p: Image.new("RGB", (64, 64), "white").save(p),
    "black.png": lambda p: Image.new("RGB", (64, 64)).save(p),
    "bars.png": lambda p: _bars(p),
    "words.png": lambda p: with_text(p, inversion("no tensor")),
    "list.png": lambda p: with_text(p, ["a"]),
    "infinite.png": lambda p: with_text(p, inversion(torch.full((1, 4), torch.inf))),
    "broken.png": lambda p: p.write_bytes(b"\x89PNG\r\n\x1a\nnothing"),
    "empty.pt": lambda p: p.write_bytes(b""),
}  # fmt: skip


def _bars(path: Path) -> None:
    """Black columns beside a picture, and noise where data would be."""
    pixels = np.random.default_rng(2).integers(1, 255, (32, 40, 3), dtype=np.uint8)
    pixels[:, [8, 31]] = 0
    Image.fromarray(pixels).save(path)


@pytest.mark.parametrize("name", BAD)
def test_file_when_it_holds_no_embedding_is_an_error_that_names_it(
    name: str, tmp_path: Path
) -> None:
    BAD[name](tmp_path / name)

    with pytest.raises(CheckpointError) as caught:
        read_embedding_facts(tmp_path / name)
    assert name in caught.value.message


def test_pickle_when_it_wants_to_run_something_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"string_to_param": Evil()}))

    with pytest.raises(UnsafeCheckpointError, match="print"):
        read_embedding_facts(tmp_path / "evil.pt")
    assert capsys.readouterr().out == ""


def test_packed_data_when_it_would_grow_without_end_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("webui.checkpoints.embeddings.MAX_JSON_BYTES", 1000)

    with pytest.raises(CheckpointError, match="too large"):
        read_embedding_facts(with_columns(tmp_path / "bomb.png", inversion()))


# In the catalog


def catalog(tmp_path: Path) -> Catalog:
    folders = SomeFolders((tmp_path / "models",), embeddings=(tmp_path / "embeddings",))
    return Catalog(folders, tmp_path / "facts.sqlite3")


def test_catalog_when_pictures_lie_beside_files_lists_only_embeddings(tmp_path: Path) -> None:
    folder = tmp_path / "embeddings"
    (folder / "deep").mkdir(parents=True)
    torch_file(folder / "easy.pt", inversion())
    Image.new("RGB", (9, 9), "white").save(folder / "easy.png")
    Image.new("RGB", (9, 9), "white").save(folder / "lonely.preview.png")
    Image.new("RGB", (9, 9), "white").save(folder / "holiday.png")
    with_columns(folder / "deep" / "shot.png", inversion())
    (folder / "empty.pt").write_bytes(b"")
    found = catalog(tmp_path)

    usable = [found.embedding_facts(r) for r in found.embeddings()]
    assert [r.name for r in found.embeddings()] == ["deep/shot.png", "easy.pt", "empty.pt"]
    assert [f.name for f in usable if f] == ["inside", "easy"]


def test_catalog_when_an_embedding_is_looked_into_says_what_it_is(tmp_path: Path) -> None:
    folder = tmp_path / "models" / "embeddings"
    write_safetensors(folder / "one.safetensors", {"emb_params": VECTORS[:1]}, {"what": "it"})
    write_safetensors(folder / "bad.safetensors", {"a": VECTORS, "b": VECTORS + 1})
    found = catalog(tmp_path)
    bad, one = (found.inspect(r) for r in found.embeddings())

    assert one.contents == "an embedding of one vector for SD 1.x" and not one.problem
    assert found.metadata(one) == {"what": "it"}
    assert "2 tensors" in bad.problem and found.embedding_facts(bad) is None


def test_catalog_when_a_file_has_changed_reads_it_again(tmp_path: Path) -> None:
    folder = tmp_path / "embeddings"
    write_safetensors(folder / "word.safetensors", {"emb_params": VECTORS})
    found = catalog(tmp_path)
    before = [found.embedding_facts(r) for r in found.embeddings()]
    write_safetensors(folder / "word.safetensors", {"emb_params": VECTORS[:1]})
    found.refresh()
    after = [found.embedding_facts(r) for r in found.embeddings()]

    counts = [[f.vectors for f in facts if f] for facts in (before, after)]
    assert counts == [[2], [1]]


def test_text_width_when_asked_is_what_the_checkpoint_reads(
    tmp_path: Path, starter_checkpoint: Path
) -> None:
    folder = tmp_path / "models" / "Stable-diffusion"
    folder.mkdir(parents=True)
    (folder / "starter.safetensors").symlink_to(starter_checkpoint)
    write_safetensors(folder / "other.safetensors", {"x": torch.ones(3)})
    found = catalog(tmp_path)
    other, starter = found.checkpoints()

    assert found.text_width(starter) == 128 and found.text_width(other) is None


def test_new_files_when_they_lie_beside_known_ones_are_seen_without_a_refresh(
    tmp_path: Path,
) -> None:
    deep = tmp_path / "embeddings" / "deep"
    write_safetensors(deep / "word.safetensors", {"emb_params": VECTORS})
    found = catalog(tmp_path)
    found.see_new_embeddings()
    assert found.generation == 1
    for number, path in enumerate((deep / "a.bin", tmp_path / "embeddings" / "b.bin"), 2):
        torch_file(path, {"<x>": VECTORS})
        found.see_new_embeddings()
        assert found.generation == number
    (deep / "word.safetensors").unlink()
    found.see_new_embeddings()

    assert [r.name for r in found.embeddings()] == ["b.bin", "deep/a.bin"]
