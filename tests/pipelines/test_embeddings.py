"""Textual inversion: the word's vectors reach the text encoder, and nothing else does."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from webui.checkpoints.load_embedding import EmbeddingReader
from webui.pipelines.conditioning import PassFacts, PromptEncoder
from webui.pipelines.embeddings import EmbeddingFile, EmbeddingShelf, JobEmbeddings
from webui.prompts.read import read_prompt
from webui.prompts.tokenizer import ClipTokenizer

CANDY = Path(__file__).resolve().parents[2] / "models" / "embeddings" / "candy-sky.safetensors"


def entry(path: Path, name: str = "", vectors: int = 2, width: int = 128) -> EmbeddingFile:
    info = path.stat()
    return EmbeddingFile(
        name or path.stem, str(path), vectors, width, info.st_size, info.st_mtime_ns
    )


def written(path: Path, vectors: torch.Tensor) -> EmbeddingFile:
    save_file({"emb_params": vectors}, str(path))
    return entry(path, vectors=vectors.shape[0], width=vectors.shape[1])


class Desk:
    """An encoder with embeddings, and what it warned of."""

    def __init__(self, encoder: PromptEncoder, tokenizer: ClipTokenizer) -> None:
        self.encoder = encoder
        self.shelf = EmbeddingShelf(tokenizer, EmbeddingReader())
        self.warnings: list[str] = []

    def job(self, *files: EmbeddingFile) -> JobEmbeddings:
        self.shelf.put(files)
        self.encoder.embeddings = JobEmbeddings(self.shelf, self.warnings.append)
        return self.encoder.embeddings

    def encode(self, text: str, negative: str = "", emphasis: str = "Original") -> torch.Tensor:
        read = read_prompt(text, negative, steps=4, emphasis=emphasis)
        cond = self.encoder.encode(read, PassFacts(64, 64))
        return cond.positive[0][1].at(0).states


@pytest.fixture
def desk(encoder: PromptEncoder, tokenizer: ClipTokenizer) -> Desk:
    return Desk(encoder, tokenizer)


def test_word_when_its_vectors_are_those_of_a_token_encodes_as_that_token(
    desk: Desk, starter: Any, tokenizer: ClipTokenizer, tmp_path: Path
) -> None:
    tokens = torch.tensor(tokenizer.encode("red apple"))
    known = starter.text_encoder.get_input_embeddings()(tokens).detach()
    desk.job(written(tmp_path / "qqword.safetensors", known.clone()))

    assert torch.equal(desk.encode("a QQword, tree"), desk.encode("a red apple, tree"))
    assert not torch.equal(desk.encode("a cat"), desk.encode("a red apple"))


def test_word_when_in_brackets_has_its_vectors_weighed(
    desk: Desk, starter: Any, tokenizer: ClipTokenizer, tmp_path: Path
) -> None:
    tokens = torch.tensor(tokenizer.encode("red apple"))
    known = starter.text_encoder.get_input_embeddings()(tokens).detach()
    desk.job(written(tmp_path / "qqword.safetensors", known.clone()))

    weighed = desk.encode("a (qqword:1.4), tree")
    assert torch.equal(weighed, desk.encode("a (red apple:1.4), tree"))
    assert not torch.equal(weighed, desk.encode("a qqword, tree"))


def test_word_when_a_job_has_no_embeddings_is_only_a_word(desk: Desk) -> None:
    plain = desk.encode("a cat, candy-sky")
    desk.job(entry(CANDY))
    changed = desk.encode("a cat, candy-sky")
    desk.job()

    assert not torch.equal(plain, changed)
    assert torch.equal(plain, desk.encode("a cat, candy-sky"))


def test_remembered_prompt_when_the_file_has_changed_is_encoded_anew(
    desk: Desk, tmp_path: Path
) -> None:
    file = tmp_path / "qqword.safetensors"
    generator = torch.Generator().manual_seed(1)
    desk.job(written(file, torch.randn(2, 128, generator=generator)))
    first = desk.encode("qqword")
    assert torch.equal(first, desk.encode("qqword"))

    desk.job(written(file, torch.randn(3, 128, generator=generator)))

    assert not torch.equal(first, desk.encode("qqword"))


def test_word_of_another_family_when_met_is_left_out_and_told_once(
    desk: Desk, tmp_path: Path
) -> None:
    plain = desk.encode("a cat, qqword, qqword")
    job = desk.job(written(tmp_path / "qqword.safetensors", torch.randn(2, 768)))

    assert torch.equal(plain, desk.encode("a cat, qqword, qqword"))
    desk.encode("a dog, qqword")
    (told,) = desk.warnings
    assert "'qqword'" in told and "768" in told and "SD 1.x" in told and "128" in told
    assert job.hashes() == ""


def test_words_of_both_families_when_of_one_name_use_the_fitting_file(
    desk: Desk, tmp_path: Path
) -> None:
    (tmp_path / "xl").mkdir()
    other = written(tmp_path / "xl" / "candy-sky.safetensors", torch.randn(2, 768))
    job = desk.job(other, entry(CANDY))

    desk.encode("a cat, candy-sky")

    assert desk.warnings == [] and job.hashes().startswith("candy-sky: ")


def test_hashes_when_words_were_used_name_each_once_also_from_memory(
    desk: Desk, tmp_path: Path
) -> None:
    unused = written(tmp_path / "unused.safetensors", torch.randn(1, 128))
    digest = hashlib.sha256(CANDY.read_bytes()).hexdigest()[:12]
    for _ in range(2):  # the second time nothing is encoded
        job = desk.job(unused, entry(CANDY))
        desk.encode("a cat", negative="candy-sky, (candy-sky:1.2)")

        assert job.hashes() == f"candy-sky: {digest}"


def test_vectors_when_a_chunk_is_full_move_to_the_next_whole(desk: Desk, tmp_path: Path) -> None:
    desk.job(written(tmp_path / "qqword.safetensors", torch.randn(6, 128)))
    filler = " ".join(["cat"] * 72)

    assert desk.encode(f"{filler} qqword").shape[1] == 2 * 77
    assert desk.encode(f"{filler} dog dog dog").shape[1] == 77


def test_picture_when_painted_with_the_companions_word_turns_pink_above(
    painted: Any, desk: Desk
) -> None:
    def top_rows(prompt: str) -> Any:
        wish = {"width": 128, "height": 128, "steps": 8, "seed": 3, "cfg_scale": 4.0}
        image = painted(prompt=prompt, **wish).pictures[0].image
        return np.asarray(image)[:12].mean(axis=(0, 1))

    plain = top_rows("a cat, candy-sky")
    desk.job(entry(CANDY))
    red, green, _ = (top_rows("a cat, candy-sky") - plain).tolist()

    assert green < -60 < red  # from light blue to pink: much less green
