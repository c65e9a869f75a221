"""What a link that people paste means: which hub, which model there, which file of it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qs, quote, unquote

from webui.checkpoints.download.client import LinkError, read_address

HUGGING_FACE_HOSTS: Final = ("huggingface.co", "www.huggingface.co", "hf.co", "hf-mirror.com")
MODELSCOPE_HOSTS: Final = ("modelscope.cn", "www.modelscope.cn")
CIVITAI_HOSTS: Final = ("civitai.com", "www.civitai.com", "civitai.green", "civitai.red")
_NO_LINK: Final = (
    "Copy the address of the model's page, https://…, or write AUTHOR/MODEL for Hugging Face. "
    "Well-known weights are got by name from their list."
)
_REPO_PART: Final = re.compile(r"[\w.-]+")


@dataclass(frozen=True)
class HuggingFace:
    """A repository there, or one file of it.

    Attributes:
        kind: ``models``, ``datasets`` or ``spaces``. path: The file's; '' = the person chooses.
    """

    repo: str
    revision: str = "main"
    path: str = ""
    kind: str = "models"

    @property
    def page(self) -> str:
        return f"https://huggingface.co/{self._place}"

    @property
    def _place(self) -> str:
        return self.repo if self.kind == "models" else f"{self.kind}/{self.repo}"

    @property
    def listing(self) -> str:
        """Where the hub lists the files."""
        rest = f"{self.repo}/tree/{quote(self.revision, safe='')}?recursive=true"
        return f"https://huggingface.co/api/{self.kind}/{rest}"

    def file(self, path: str) -> str:
        """Where a file is downloaded."""
        return f"{self.page}/resolve/{quote(self.revision, safe='')}/{quote(path)}"


@dataclass(frozen=True)
class ModelScope:
    """A repository there, or one file of it."""

    repo: str
    revision: str = "master"
    path: str = ""

    @property
    def page(self) -> str:
        return f"https://modelscope.cn/models/{self.repo}"

    @property
    def listing(self) -> str:
        """Where the hub lists the files."""
        return (
            f"https://modelscope.cn/api/v1/models/{self.repo}/repo/files"
            f"?Revision={quote(self.revision, safe='')}&Recursive=true"
        )

    def file(self, path: str) -> str:
        """Where a file is downloaded."""
        return f"{self.page}/resolve/{quote(self.revision, safe='')}/{quote(path)}"


@dataclass(frozen=True)
class Civitai:
    """A model there, a version of it, or one file.

    Attributes:
        query: Of a download link: what tells the version's files apart.
    """

    model: str = ""
    version: str = ""
    query: str = ""

    @property
    def listing(self) -> str:
        """Where the hub describes it."""
        if self.version:
            return f"https://civitai.com/api/v1/model-versions/{self.version}"
        return f"https://civitai.com/api/v1/models/{self.model}"


@dataclass(frozen=True)
class Plain:
    """An address that is a file."""

    url: str


Link = HuggingFace | ModelScope | Civitai | Plain


def read_link(text: str) -> Link:
    """What a pasted text means. ``author/model`` alone is a repository of Hugging Face.

    Raises:
        LinkError: It is no link.
    """
    text = text.strip().strip("<>\"'")
    if re.fullmatch(r"[\w.-]+/[\w.-]+", text) and "." not in text.partition("/")[0]:
        return HuggingFace(text)
    if "://" not in text:
        if not re.match(r"[\w-]+(\.[\w-]+)+(:\d+)?/", text):
            raise LinkError(f"{text[:200]!r} is no link.", _NO_LINK)
        text = f"https://{text}"
    url = read_address(text)
    parts = [unquote(part) for part in url.path.split("/") if part]
    query = {key: values[0] for key, values in parse_qs(url.query.decode("ascii")).items()}
    if url.host in HUGGING_FACE_HOSTS:
        return _hugging_face(parts)
    if url.host in MODELSCOPE_HOSTS:
        return _modelscope(parts, query)
    if url.host in CIVITAI_HOSTS:
        return _civitai(parts, query, url.query.decode("ascii"))
    return Plain(str(url))


def _hugging_face(parts: list[str]) -> HuggingFace:
    kind = "models"
    if parts and parts[0] in ("datasets", "spaces", "models"):
        kind = parts.pop(0)
    if len(parts) < 2 or not all(_REPO_PART.fullmatch(part) for part in parts[:2]):
        raise _unclear("Hugging Face", "https://huggingface.co/AUTHOR/MODEL")
    repo, rest = "/".join(parts[:2]), parts[2:]
    if len(rest) >= 2 and rest[0] in ("blob", "resolve", "raw", "tree"):
        path = "/".join(rest[2:]) if rest[0] != "tree" else ""
        return HuggingFace(repo, rest[1], _safe_path(path), kind)
    return HuggingFace(repo, kind=kind)


def _modelscope(parts: list[str], query: dict[str, str]) -> ModelScope:
    if parts[:3] == ["api", "v1", "models"]:
        parts = parts[2:]
    if parts and parts[0] == "models":
        parts = parts[1:]
    if len(parts) < 2 or not all(_REPO_PART.fullmatch(part) for part in parts[:2]):
        raise _unclear("ModelScope", "https://modelscope.cn/models/AUTHOR/MODEL")
    repo, rest = "/".join(parts[:2]), parts[2:]
    if len(rest) >= 3 and rest[0] == "resolve":
        return ModelScope(repo, rest[1], _safe_path("/".join(rest[2:])))
    if rest[:2] == ["file", "view"]:
        revision = rest[2] if len(rest) > 2 else "master"
        path = query.get("fileName") or "/".join(rest[3:])
        return ModelScope(repo, revision, _safe_path(path))
    path = query.get("FilePath", "")
    return ModelScope(repo, query.get("Revision", "master"), _safe_path(path))


def _civitai(parts: list[str], query: dict[str, str], whole_query: str) -> Civitai:
    if parts[:3] == ["api", "download", "models"] and len(parts) > 3 and parts[3].isdecimal():
        return Civitai(version=parts[3], query=whole_query)
    if parts[:3] == ["api", "v1", "model-versions"] and parts[3:] and parts[3].isdecimal():
        return Civitai(version=parts[3])
    if parts[:2] == ["api", "v1"]:
        parts = parts[2:]
    if parts[:1] == ["models"] and len(parts) > 1 and parts[1].isdecimal():
        version = query.get("modelVersionId", "")
        return Civitai(parts[1], version if version.isdecimal() else "")
    if parts[:1] == ["model-versions"] and len(parts) > 1 and parts[1].isdecimal():
        return Civitai(version=parts[1])
    raise _unclear("Civitai", "https://civitai.com/models/NUMBER")


def _safe_path(path: str) -> str:
    return path if ".." not in path.split("/") else ""


def _unclear(hub: str, example: str) -> LinkError:
    return LinkError(
        f"This address at {hub} leads to no model.",
        f"Open the model's page and copy its address, such as {example}",
    )
