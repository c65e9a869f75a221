"""Textual inversions over the API: listed with what they are, counted, and painted with."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from fastapi.testclient import TestClient
from safetensors.torch import save_file

from tests.api.clients import client_of
from webui.studio import Studio

SDAPI = "/sdapi/v1"


def embeddings_folder(studio: Studio) -> Path:
    folder = studio.settings.folders.data / "embeddings"
    folder.mkdir(exist_ok=True)
    return folder


def test_embeddings_when_listed_are_loaded_if_they_fit_else_skipped(
    client: TestClient, studio: Studio
) -> None:
    folder = embeddings_folder(studio)
    torch.save(
        {
            "string_to_param": {"*": torch.ones(3, 768)}, "name": "x", "step": 40,
            "sd_checkpoint": "0a1b2c3d", "sd_checkpoint_name": "harbour",
        },
        folder / "easy.pt",
    )  # fmt: skip
    save_file(
        {"clip_l": torch.ones(1, 768), "clip_g": torch.ones(1, 1280)},
        str(folder / "large.safetensors"),
    )
    (folder / "broken.pt").write_bytes(b"not a pickle")

    answer = client.post(f"{SDAPI}/refresh-embeddings")
    found = client.get(f"{SDAPI}/embeddings").json()

    nothing = {"step": None, "sd_checkpoint": None, "sd_checkpoint_name": None}
    assert answer.json() is None
    assert found["loaded"] == {"candy-sky": {**nothing, "shape": 128, "vectors": 2}}
    assert found["skipped"] == {
        "easy": {
            "step": 40, "sd_checkpoint": "0a1b2c3d", "sd_checkpoint_name": "harbour",
            "shape": 768, "vectors": 3,
        },
        "large": {**nothing, "shape": 2048, "vectors": 1},
    }  # fmt: skip


def test_tokens_when_a_word_is_an_embedding_count_its_vectors(studio: Studio) -> None:
    plain, _ = studio.tokens.count("a cat, wide-word")
    save_file({"e": torch.ones(40, 128)}, str(embeddings_folder(studio) / "wide-word.safetensors"))
    studio.refresh_models()

    assert plain < 10
    assert studio.tokens.count("a cat, wide-word") == (43, 75)
    assert studio.tokens.count("a cat, wide-word, (Wide-Word:1.2)") == (75 + 40, 150)


def test_picture_when_painted_with_embeddings_names_those_used_and_tells_of_the_rest(
    real_studio: Studio,
) -> None:
    studio = real_studio
    save_file({"e": torch.ones(1, 768)}, str(embeddings_folder(studio) / "foreign.safetensors"))
    studio.refresh_models()
    wish = {"steps": 1, "width": 64, "height": 64, "prompt": "a cat, candy-sky, foreign"}
    with client_of(studio) as client:
        answer = client.post(f"{SDAPI}/txt2img", json=wish).json()
    job = studio.jobs.list(limit=1)[0]
    info = json.loads(answer["info"])

    assert 'TI hashes: "candy-sky: b18f9dd58816", Version' in info["infotexts"][0]
    assert info["extra_generation_params"]["TI hashes"] == "candy-sky: b18f9dd58816"
    (told,) = job.warnings
    assert "'foreign'" in told and "768" in told
