"""What a link offers: the files behind it, with what the hub tells of each."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import parse_qs

import httpx

from webui.checkpoints.download.asking import none_gave
from webui.checkpoints.download.client import LinkError, SourceError, ask, make_client, translated
from webui.checkpoints.download.fetch import FolderPart, Network, Wanted, on_own_loop
from webui.checkpoints.download.links import (
    Civitai,
    HuggingFace,
    Link,
    ModelScope,
    Plain,
    read_link,
)
from webui.checkpoints.download.naming import ENDINGS, safe_name
from webui.checkpoints.download.repositories import Listed, folder_files
from webui.checkpoints.scan import DIFFUSERS_INDEX

logger = logging.getLogger(__name__)
MOST_JSON_BYTES: Final = 16 << 20
MOST_PICTURE_BYTES: Final = 12 << 20
_CIVITAI_KINDS: Final = {
    "Checkpoint": "checkpoint", "LORA": "lora", "LoCon": "lora", "DoRA": "lora",
    "TextualInversion": "embedding", "VAE": "vae", "Upscaler": "upscaler",
    "Hypernetwork": "hypernetwork", "Controlnet": "controlnet",
}  # fmt: skip
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Notes:
    """What a hub says of a model, for the files beside it.

    Attributes:
        description: Its title and version. words: What a prompt must say. base: The hub's word
            for what it was made from. page: Where it stands. preview: A picture's address.
    """

    description: str = ""
    words: str = ""
    base: str = ""
    page: str = ""
    preview: str = ""


@dataclass(frozen=True)
class Offer:
    """One file that can be had.

    Attributes:
        label: What tells it from the others. wanted: The wish that gets it.
        is_main: The one most people want.
    """

    label: str
    wanted: Wanted
    notes: Notes | None = None
    is_main: bool = False


def offers(text: str, network: Network, kind: str = "") -> list[Offer]:
    """The files behind a pasted link, the most wanted first. Asks the hub.

    Args:
        kind: What the person says it is; '' = unknown.
    Raises:
        DownloadError: It is no link, the hub does not answer, or there are no weights there.
    """
    return on_own_loop(_offers(read_link(text), network, kind))


async def _offers(link: Link, network: Network, kind: str) -> list[Offer]:
    if isinstance(link, Plain):
        name = safe_name(httpx.URL(link.url).path, "")
        wanted = Wanted((link.url,), kind, name if name.lower().endswith(ENDINGS) else "")
        return [Offer(name or link.url, wanted, is_main=True)]
    if isinstance(link, (HuggingFace, ModelScope)) and link.path:
        return [replace(_repo_offer(link, Listed(link.path), kind), is_main=True)]
    async with make_client(network.rules) as client:
        told = await ask_json(client, network, link.listing)
        if isinstance(link, Civitai):
            found = _civitai(link, told, kind)
        else:
            files = _listed(told)
            found = [_repo_offer(link, file, kind) for file in files if _is_weights(file)]
            if kind in ("", "checkpoint") and any(f.path == DIFFUSERS_INDEX for f in files):
                index = await ask_json(client, network, link.file(DIFFUSERS_INDEX))
                has_single = any(offer.is_main for offer in found)
                found += _folder_offers(link, index, files, is_main=not has_single)
    if not found:
        raise LinkError(
            "There are no files of weights at this address.",
            f"They end in {', '.join(ENDINGS)}, or make up a diffusers folder.",
        )
    return sorted(found, key=lambda offer: not offer.is_main)


async def ask_json(client: httpx.AsyncClient, network: Network, url: str) -> Any:
    """A hub's answer for programs; from a mirror when it does not answer itself.

    Raises:
        DownloadError: Nobody gives a sound answer.
    """
    failures: dict[str, SourceError] = {}
    for candidate in network.mirrors.candidates(url):
        try:
            data = await read_all(client, network, candidate.url, MOST_JSON_BYTES)
            return json.loads(data)
        except SourceError as err:
            failures[candidate.url] = err
        except ValueError:
            host = httpx.URL(candidate.url).host
            failures[candidate.url] = SourceError(
                f"{host} gave an answer that cannot be read.", "Try again."
            )
    raise none_gave(failures)


async def read_all(client: httpx.AsyncClient, network: Network, url: str, most: int) -> bytes:
    """A small answer as a whole.

    Raises:
        SourceError: It cannot be had, or is larger than ``most`` bytes.
    """
    data = bytearray()
    async with ask(client, url, network.rules) as answer:
        with translated(url):
            async for chunk in answer.response.aiter_bytes():
                data += chunk
                if len(data) > most:
                    raise SourceError(f"{answer.url.host} sends far too much.", "Try again.")
    return bytes(data)


# Repositories


def _listed(told: Any) -> list[Listed]:
    """The files of a repository: of Hugging Face a list, of ModelScope one inside of its answer."""
    if isinstance(told, list):
        return [
            _a_file(e.get("path"), e.get("size"), _dict(e.get("lfs")).get("oid"))
            for e in _dicts(told)
            if e.get("type") == "file"
        ]
    return [
        _a_file(e.get("Path"), e.get("Size"), e.get("Sha256"))
        for e in _dicts(_dict(_dict(told).get("Data")).get("Files"))
        if e.get("Type") == "blob"
    ]


def _a_file(path: Any, size: Any, sha256: Any) -> Listed:
    digest = str(sha256 or "").lower()
    return Listed(
        str(path or ""),
        size if isinstance(size, int) and size > 0 else None,
        digest if _SHA256.fullmatch(digest) else None,
    )


def _is_weights(file: Listed) -> bool:
    return file.path.lower().endswith(ENDINGS)


def _repo_offer(link: HuggingFace | ModelScope, file: Listed, kind: str) -> Offer:
    name = safe_name(file.path)
    wanted = Wanted((link.file(file.path),), kind, name, "", file.sha256, file.size_bytes)
    # a whole model rather than a part of a diffusers folder
    is_single = "/" not in file.path and file.path.lower().endswith(".safetensors")
    return Offer(file.path, wanted, Notes(link.repo, page=link.page), is_single)


def _folder_offers(
    link: HuggingFace | ModelScope, index: Any, files: list[Listed], *, is_main: bool
) -> list[Offer]:
    """The repository's diffusers folder as a whole, if it is one."""
    chosen = folder_files(index, files)
    if not chosen:
        return []
    name = safe_name(link.repo.rpartition("/")[2], "model")
    parts = tuple(FolderPart(f.path, (link.file(f.path),), f.sha256, f.size_bytes) for f in chosen)
    total = sum(file.size_bytes or 0 for file in chosen)
    wanted = Wanted((), "checkpoint", name, size_bytes=total or None, parts=parts)
    return [Offer(f"{name} (diffusers folder)", wanted, is_main=is_main)]


# Civitai


def _civitai(link: Civitai, told: Any, kind: str) -> list[Offer]:
    told = _dict(told)
    versions = _dicts(told.get("modelVersions")) or [told]
    if link.version:
        versions = [v for v in versions if str(v.get("id")) == link.version] or versions
    model = _dict(told.get("model")) or told
    found = [
        _civitai_offer(file, version, model, kind, number == 0)
        for number, version in enumerate(versions)
        for file in _dicts(version.get("files"))
        if str(file.get("name", "")).lower().endswith(ENDINGS)
    ]
    return _asked_for(found, link.query)


def _asked_for(found: list[Offer], query: str) -> list[Offer]:
    """The file that a download link's query describes, if it does."""
    asked = {value.lower() for values in parse_qs(query).values() for value in values}
    if not asked:
        return found
    exact = [o for o in found if asked == _query_words(o.wanted.urls[0])]
    return [replace(exact[0], is_main=True)] if exact else found


def _query_words(url: str) -> set[str]:
    query = httpx.URL(url).query.decode("ascii")
    return {value.lower() for values in parse_qs(query).values() for value in values}


def _civitai_offer(
    file: Mapping[str, Any],
    version: Mapping[str, Any],
    model: Mapping[str, Any],
    kind: str,
    is_newest: bool,
) -> Offer:
    own_kind = _CIVITAI_KINDS.get(str(model.get("type", "")), "")
    if file.get("type") == "VAE":
        own_kind = "vae"
    digest = str(_dict(file.get("hashes")).get("SHA256", "")).lower()
    number = version.get("id")
    url = str(file.get("downloadUrl") or f"https://civitai.com/api/download/models/{number}")
    title = " ".join(str(part) for part in (model.get("name"), version.get("name")) if part)
    words = [str(word).strip(" ,") for word in version.get("trainedWords") or ()]
    notes = Notes(
        description=title,
        words=", ".join(filter(None, words)),
        base=str(version.get("baseModel") or ""),
        page=f"https://civitai.com/models/{version.get('modelId') or model.get('id') or ''}"
        f"?modelVersionId={number}",
        preview=_harmless_picture(_dicts(version.get("images"))),
    )
    kilobytes = file.get("sizeKB")
    size = f", {kilobytes / 1e6:.2f} GB" if isinstance(kilobytes, (int, float)) else ""
    name = safe_name(str(file["name"]))
    return Offer(
        f"{version.get('name') or number}: {name}{size}",
        Wanted((url,), own_kind or kind, name,
               sha256=digest if _SHA256.fullmatch(digest) else None),
        notes if own_kind != "vae" or model.get("type") == "VAE" else None,
        is_newest and bool(file.get("primary")),
    )  # fmt: skip


def _harmless_picture(images: Iterable[Mapping[str, Any]]) -> str:
    """The first preview that anybody may see; '' when there is none."""
    for image in images:
        level = image.get("nsfwLevel", image.get("nsfw"))
        is_harmless = level in (1, "None", False, None) and image.get("type", "image") == "image"
        if is_harmless and str(image.get("url", "")).startswith("https://"):
            return str(image["url"])
    return ""


def _dict(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _dicts(value: Any) -> list[Mapping[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []
