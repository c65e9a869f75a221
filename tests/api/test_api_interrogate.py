"""POST /sdapi/v1/interrogate: which model is asked, and what is said when there is none."""

from __future__ import annotations

from fastapi.testclient import TestClient

from tests.api.test_api_extras import encoded
from tests.describing.small_describers import write_tagger
from webui.studio import Studio

PATH = "/sdapi/v1/interrogate"


def test_interrogate_when_no_picture_or_another_model_then_404_in_a1111s_words(
    client: TestClient,
) -> None:
    none = client.post(PATH, json={})
    other = client.post(PATH, json={"image": encoded(), "model": "vit"})

    assert none.status_code == other.status_code == 404
    assert none.json()["detail"] == "Image not found"
    assert other.json()["detail"] == "Model not found"


def test_interrogate_when_weights_are_missing_then_names_the_files_until_they_are_there(
    client: TestClient, studio: Studio
) -> None:
    missing = client.post(PATH, json={"image": encoded(), "model": "clip"})
    assert missing.status_code == 404
    assert "config.json" in missing.json()["detail"] and "models/BLIP" in missing.json()["detail"]
    tagger = client.post(PATH, json={"image": encoded(), "model": "deepdanbooru"})
    assert tagger.status_code == 404 and "selected_tags.csv" in tagger.json()["detail"]

    write_tagger(studio.settings.folders.own_models / "taggers" / "wd")
    found = client.post(PATH, json={"image": encoded(), "model": "deepdanbooru"})
    assert found.status_code == 200 and found.json()["caption"].startswith("tagger ")
    job = studio.jobs.list(limit=1)[0]
    assert (job.kind, job.origin) == ("interrogate", "api")
