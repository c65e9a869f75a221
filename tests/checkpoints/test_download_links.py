"""Links people paste, what hubs tell about them, mirrors, keys, names."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image

from webui.checkpoints.download import beside, hubs
from webui.checkpoints.download.beside import write_beside
from webui.checkpoints.download.client import Rules
from webui.checkpoints.download.fetch import Network
from webui.checkpoints.download.hubs import Notes, offers
from webui.checkpoints.download.keys import Keys
from webui.checkpoints.download.links import Civitai, HuggingFace, ModelScope, Plain, read_link
from webui.checkpoints.download.mirrors import (
    FIRST_TEXT,
    Candidate,
    parse_mirrors,
    read_mirrors,
    write_mirrors,
)
from webui.checkpoints.download.naming import disposition_name, safe_name
from webui.errors import DownloadError, ParamsError

LINKS = [
    ("author/model", HuggingFace("author/model")),
    ("https://huggingface.co/a/b", HuggingFace("a/b")),
    ("huggingface.co/a/b/tree/fp16", HuggingFace("a/b", "fp16")),
    ("https://hf.co/a/b/blob/main/x/y.ckpt", HuggingFace("a/b", "main", "x/y.ckpt")),
    ("https://hf-mirror.com/a/b/resolve/v1/y.pt?download=true", HuggingFace("a/b", "v1", "y.pt")),
    (
        "https://huggingface.co/datasets/a/b/resolve/main/y.pt",
        HuggingFace("a/b", "main", "y.pt", "datasets"),
    ),
    ("https://huggingface.co/a/b/resolve/main/../../x.pt", HuggingFace("a/b", "main")),
    ("https://modelscope.cn/models/a/b", ModelScope("a/b")),
    ("https://www.modelscope.cn/models/a/b/summary", ModelScope("a/b")),
    ("https://modelscope.cn/models/a/b/resolve/v1/y.pt", ModelScope("a/b", "v1", "y.pt")),
    (
        "https://modelscope.cn/models/a/b/file/view/master?fileName=x%2Fy.pt&status=2",
        ModelScope("a/b", "master", "x/y.pt"),
    ),
    (
        "https://modelscope.cn/api/v1/models/a/b/repo?Revision=v2&FilePath=y.pt",
        ModelScope("a/b", "v2", "y.pt"),
    ),
    ("https://civitai.com/models/6424/chilloutmix", Civitai("6424")),
    ("https://civitai.com/models/6424?modelVersionId=11745", Civitai("6424", "11745")),
    ("civitai.com/api/download/models/11745", Civitai(version="11745")),
    (
        "https://civitai.com/api/download/models/5?type=VAE",
        Civitai(version="5", query="type=VAE"),
    ),
    ("https://example.org/x.safetensors", Plain("https://example.org/x.safetensors")),
]


@pytest.mark.parametrize(("text", "link"), LINKS)
def test_link_when_pasted_then_means(text: str, link: object) -> None:
    assert read_link(text) == link


@pytest.mark.parametrize(
    "text", ["https://huggingface.co/", "https://civitai.com/user/x", "https://modelscope.cn/x",
             "file:///etc/passwd", "javascript:alert(1)", "", "what is this", "anything", "a/b c"],
)  # fmt: skip
def test_link_when_it_leads_nowhere_then_says_so(text: str) -> None:
    with pytest.raises(DownloadError):
        read_link(text)


class Hub:
    """Answers for all hubs, without a network."""

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, list[httpx.Request]()

    def client(self, _rules: Rules) -> httpx.AsyncClient:
        return httpx.AsyncClient(transport=httpx.MockTransport(self._answer))

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        found = self.answers.get(str(request.url))
        if found is None:
            return httpx.Response(404)
        if isinstance(found, bytes):
            return httpx.Response(200, content=found)
        return httpx.Response(200, json=found)


def network(keys: Keys | None = None) -> Network:
    return Network(Rules(keys or Keys(None, {})), read_mirrors(Path("/nowhere"), {}))


def test_hugging_face_when_a_repository_is_pasted_then_its_weights_with_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listing = [
        {"type": "directory", "path": "unet"},
        {"type": "file", "path": "unet/w.safetensors", "size": 3, "lfs": {"oid": "cd" * 32}},
        {"type": "file", "path": "README.md", "size": 9},
        {"type": "file", "path": "a b.safetensors", "size": 7, "lfs": {"oid": "AB" * 32}},
        {"type": "file", "path": "small.pt", "size": 5},
    ]
    hub = Hub({"https://huggingface.co/api/models/x/y/tree/main?recursive=true": listing})
    monkeypatch.setattr(hubs, "make_client", hub.client)
    found = offers("x/y", network(), "lora")
    assert [offer.label for offer in found] == ["a b.safetensors", "unet/w.safetensors", "small.pt"]
    first = found[0].wanted
    assert first.urls == ("https://huggingface.co/x/y/resolve/main/a%20b.safetensors",)
    assert (first.kind, first.sha256, first.size_bytes) == ("lora", "ab" * 32, 7)
    assert found[2].wanted.sha256 is None


@pytest.mark.parametrize("has_single", [False, True])
def test_hugging_face_when_the_repository_is_a_model_folder_then_offered_whole(
    monkeypatch: pytest.MonkeyPatch, has_single: bool
) -> None:
    single = [{"type": "file", "path": "all.safetensors", "size": 9}] if has_single else []
    listing = [
        *single,
        {"type": "file", "path": "model_index.json", "size": 2},
        {"type": "file", "path": "vae/config.json", "size": 3},
        {"type": "file", "path": "vae/w.safetensors", "size": 5, "lfs": {"oid": "cd" * 32}},
    ]
    hub = Hub({
        "https://huggingface.co/api/models/x/Big/tree/main?recursive=true": listing,
        "https://huggingface.co/x/Big/resolve/main/model_index.json":
            {"_class_name": "QwenImagePipeline", "vae": ["diffusers", "AutoencoderKL"]},
    })  # fmt: skip
    monkeypatch.setattr(hubs, "make_client", hub.client)
    found = offers("x/Big", network())
    mains = [offer.label for offer in found if offer.is_main]
    assert mains == (["all.safetensors"] if has_single else ["Big (diffusers folder)"])
    (whole,) = [offer.wanted for offer in found if offer.wanted.parts]
    assert (whole.name, whole.kind, whole.size_bytes) == ("Big", "checkpoint", 10)
    assert [(p.path, p.sha256) for p in whole.parts] == [
        ("model_index.json", None), ("vae/config.json", None), ("vae/w.safetensors", "cd" * 32),
    ]  # fmt: skip
    assert whole.parts[2].urls == ("https://huggingface.co/x/Big/resolve/main/vae/w.safetensors",)
    assert not any(offer.wanted.parts for offer in offers("x/Big", network(), "vae"))


def test_hub_when_it_is_dead_then_its_mirror_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = [{"type": "file", "path": "y.pt", "size": 5}]
    hub = Hub({"https://hf-mirror.com/api/models/x/y/tree/main?recursive=true": listing})
    monkeypatch.setattr(hubs, "make_client", hub.client)
    assert [offer.label for offer in offers("x/y", network())] == ["y.pt"]


def test_hub_when_nobody_answers_then_every_reason_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hubs, "make_client", Hub({}).client)
    with pytest.raises(DownloadError) as caught:
        offers("x/y", network())
    assert " huggingface.co " in str(caught.value) and " hf-mirror.com " in str(caught.value)


def test_modelscope_when_a_repository_is_pasted_then_its_weights(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    files = [
        {"Type": "tree", "Path": "x"},
        {"Type": "blob", "Path": "m.safetensors", "Size": 8, "Sha256": "ef" * 32},
    ]
    url = "https://modelscope.cn/api/v1/models/x/y/repo/files?Revision=master&Recursive=true"
    monkeypatch.setattr(hubs, "make_client", Hub({url: {"Data": {"Files": files}}}).client)
    (offer,) = offers("https://modelscope.cn/models/x/y", network())
    assert offer.wanted.urls == ("https://modelscope.cn/models/x/y/resolve/master/m.safetensors",)
    assert offer.wanted.sha256 == "ef" * 32


VERSION = {
    "id": 11, "modelId": 7, "name": "v2", "baseModel": "SDXL 1.0", "trainedWords": ["aaa", " bbb,"],
    "images": [
        {"url": "https://image.civitai.com/bad.jpeg", "type": "image", "nsfwLevel": 8},
        {"url": "https://image.civitai.com/film.mp4", "type": "video", "nsfwLevel": 1},
        {"url": "https://image.civitai.com/good.jpeg", "type": "image", "nsfwLevel": 1},
    ],
    "files": [
        {"name": "big.safetensors", "sizeKB": 2e6, "type": "Model", "primary": True,
         "hashes": {"SHA256": "AA" * 32},
         "downloadUrl": "https://civitai.com/api/download/models/11"},
        {"name": "big.vae.pt", "sizeKB": 3e5, "type": "VAE", "hashes": {},
         "downloadUrl": "https://civitai.com/api/download/models/11?type=VAE"},
        {"name": "set.zip", "type": "Training Data"},
    ],
}  # fmt: skip


@pytest.mark.parametrize(
    ("link", "address", "told"),
    [
        (
            "https://civitai.com/models/7/name", "https://civitai.com/api/v1/models/7",
            {"id": 7, "name": "Big", "type": "LORA", "modelVersions": [VERSION]},
        ),
        (
            "https://civitai.com/api/download/models/11",
            "https://civitai.com/api/v1/model-versions/11",
            {**VERSION, "model": {"name": "Big", "type": "LORA"}},
        ),
    ],
)  # fmt: skip
def test_civitai_when_a_model_is_pasted_then_kind_words_and_a_harmless_picture(
    monkeypatch: pytest.MonkeyPatch, link: str, address: str, told: Any
) -> None:
    monkeypatch.setattr(hubs, "make_client", Hub({address: told}).client)
    first, vae = offers(link, network(), "checkpoint")
    assert (first.wanted.kind, first.wanted.name) == ("lora", "big.safetensors")
    assert first.is_main and first.wanted.sha256 == "aa" * 32
    assert vae.wanted.kind == "vae" and not vae.is_main
    assert first.notes == Notes(
        "Big v2", "aaa, bbb", "SDXL 1.0", "https://civitai.com/models/7?modelVersionId=11",
        "https://image.civitai.com/good.jpeg",
    )  # fmt: skip


def test_civitai_when_the_link_names_a_file_then_that_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = {**VERSION, "model": {"name": "Big", "type": "Checkpoint"}}
    hub = Hub({"https://civitai.com/api/v1/model-versions/11": told})
    monkeypatch.setattr(hubs, "make_client", hub.client)
    (offer,) = offers("https://civitai.com/api/download/models/11?type=VAE", network())
    assert offer.wanted.name == "big.vae.pt" and offer.is_main


@pytest.mark.parametrize("told", [[], {}, None, "x", [{"type": "file"}], {"files": [1]}])
def test_hub_when_it_answers_nonsense_then_says_there_is_nothing(
    monkeypatch: pytest.MonkeyPatch, told: Any
) -> None:
    hub = Hub({
        "https://huggingface.co/api/models/x/y/tree/main?recursive=true": told or [],
        "https://civitai.com/api/v1/models/7": told or {},
    })  # fmt: skip
    monkeypatch.setattr(hubs, "make_client", hub.client)
    for link in ("x/y", "https://civitai.com/models/7"):
        with pytest.raises(DownloadError, match="no files of weights"):
            offers(link, network())


# Beside the file


def test_notes_when_written_then_a1111_reads_them_and_nothing_is_written_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (2000, 1000), "red").save(picture, "JPEG")
    hub = Hub({"https://image.civitai.com/good.jpeg": picture.getvalue()})
    monkeypatch.setattr(beside, "make_client", hub.client)
    model = tmp_path / "big.safetensors"
    model.write_bytes(b"x")
    notes = Notes(
        "Big v2", "aaa, bbb", "SDXL 1.0", "https://page", "https://image.civitai.com/good.jpeg"
    )
    write_beside(model, "lora", notes, network())
    noted = json.loads((tmp_path / "big.json").read_text("utf-8"))
    assert noted["activation text"] == "aaa, bbb" and noted["sd version"] == "SDXL"
    assert noted["description"] == "Big v2" and noted["notes"] == "https://page"
    with Image.open(tmp_path / "big.preview.png") as shown:
        assert shown.format == "PNG" and max(shown.size) == 768
    (tmp_path / "big.json").write_text("{}", "utf-8")
    write_beside(model, "lora", notes, network())
    assert (tmp_path / "big.json").read_text("utf-8") == "{}"
    assert len(hub.asked) == 1


def test_notes_when_the_picture_is_none_then_the_rest_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(beside, "make_client", Hub({"https://x.org/p": b"<html>"}).client)
    model = tmp_path / "a.safetensors"
    model.write_bytes(b"x")
    write_beside(model, "lora", Notes("A", preview="https://x.org/p"), network())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.json", "a.safetensors"]


# Mirrors


def test_mirrors_when_listed_then_every_source_has_its_copies(tmp_path: Path) -> None:
    file = tmp_path / "mirrors.txt"
    assert read_mirrors(file, {}).candidates("https://huggingface.co/a/b?x=1") == [
        Candidate("https://huggingface.co/a/b?x=1"),
        Candidate("https://hf-mirror.com/a/b?x=1", "huggingface.co"),
    ]
    write_mirrors(file, "# mine\ngithub.com = https://proxy.org/https://github.com/\n")
    found = read_mirrors(file, {"HF_ENDPOINT": "http://10.0.0.5:8080/"})
    assert found.by_host == {
        "github.com": ("https://proxy.org/https://github.com",),
        "huggingface.co": ("http://10.0.0.5:8080",),
    }
    assert (
        found.candidates("https://github.com/a")[1].url == "https://proxy.org/https://github.com/a"
    )
    assert read_mirrors(file, {"HF_ENDPOINT": "https://huggingface.co"}).by_host.keys() == {
        "github.com"
    }


@pytest.mark.parametrize(
    "line", ["huggingface.co", "= https://x.org", "a/b = https://x.org", "a = ftp://x", "a = x"]
)
def test_mirrors_when_a_line_is_wrong_then_its_number_is_told(tmp_path: Path, line: str) -> None:
    with pytest.raises(ParamsError, match="Line 2"):
        write_mirrors(tmp_path / "mirrors.txt", f"# one\n{line}\n")
    assert not list(tmp_path.iterdir())


def test_mirrors_when_first_written_then_the_text_is_sound() -> None:
    assert parse_mirrors(FIRST_TEXT) == {"huggingface.co": ("https://hf-mirror.com",)}


# Keys


def test_key_when_kept_then_for_its_owner_alone_and_never_told(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "data" / "keys.json", {})
    keys.keep("civitai.com", " s3cret ")
    if os.name != "nt":
        assert stat.S_IMODE((tmp_path / "data" / "keys.json").stat().st_mode) == 0o600
    assert keys.sites() == {"civitai.com"}
    assert "s3cret" not in repr(keys) + str(vars(keys))
    keys.keep("civitai.com", "")
    assert keys.sites() == frozenset()


@pytest.mark.parametrize(
    ("url", "is_sent"),
    [
        ("https://civitai.com/api", True),
        ("http://civitai.com/api", False),
        ("https://evil-civitai.com/", False),
        ("https://civitai.com.evil.org/", False),
        ("https://huggingface.co/", False),
        ("https://hf-mirror.com/", False),
    ],
)
def test_key_when_a_host_is_asked_then_sent_to_its_own_alone(
    tmp_path: Path, url: str, is_sent: bool
) -> None:
    keys = Keys(tmp_path / "keys.json", {})
    keys.keep("civitai.com", "s3cret")
    assert bool(keys.header_for(httpx.URL(url))) == is_sent


def test_key_when_in_the_environment_then_used_unless_one_is_kept(tmp_path: Path) -> None:
    keys = Keys(tmp_path / "keys.json", {"HF_TOKEN": "env"})
    url = httpx.URL("https://huggingface.co/x")
    assert keys.header_for(url) == {"Authorization": "Bearer env"}
    keys.keep("huggingface.co", "kept")
    assert keys.header_for(url) == {"Authorization": "Bearer kept"}


@pytest.mark.parametrize(("site", "key"), [("example.org", "x"), ("civitai.com", "a b\n c")])
def test_key_when_it_is_none_then_refused(tmp_path: Path, site: str, key: str) -> None:
    with pytest.raises(ParamsError) as caught:
        Keys(tmp_path / "keys.json", {}).keep(site, key)
    assert key not in str(caught.value) or key == "x"


# Names


@pytest.mark.parametrize(
    ("told", "name"),
    [
        ("a.safetensors", "a.safetensors"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Windows\\x.pt", "x.pt"),
        ("%2e%2e%2fx.pt", "x.pt"),
        ("..", "model.safetensors"),
        ("con.pt", "model.safetensors"),
        (".hidden.pt", "hidden.pt"),
        ("a\x00b\n<c>.pt", "abc.pt"),
        ("模型 一.safetensors", "模型 一.safetensors"),
        ("x" * 300 + ".pt", "x" * 117 + ".pt"),
    ],
)
def test_name_when_a_server_tells_it_then_made_safe(told: str, name: str) -> None:
    assert safe_name(told) == name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="a b.pt"', "a b.pt"),
        ("attachment; filename=x.pt; size=3", "x.pt"),
        ("attachment; filename=\"x\"; filename*=UTF-8''%E6%A8%A1.pt", "模.pt"),
        ("inline", ""),
        ("", ""),
    ],
)
def test_disposition_when_read_then_the_name_in_it(header: str, name: str) -> None:
    assert disposition_name(header) == name
