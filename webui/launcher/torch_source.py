"""Where the chosen PyTorch build really lies: asked of the index, answered within seconds.

Only the pages of the torch family are given to pip, as ``--find-links``. Everything else still
comes from wherever the person's pip settings say, and one resolve sees both.
"""

from __future__ import annotations

import os
import re
import ssl
import sys
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import NamedTuple

from webui.launcher.environment import pinned
from webui.launcher.machine import Machine
from webui.launcher.torch_choice import BUILD, TorchChoice
from webui.launcher.words import tell

PYTORCH_INDEX = "https://download.pytorch.org/whl"
TORCH_FAMILY = ("torch", "torchvision")
# CUDA's triton is on every ordinary index; those of ROCm and Intel lie beside their torch.
TRITON = {"rocm": ("triton-rocm", "pytorch-triton-rocm"), "xpu": ("triton-xpu",)}
NO_ANSWER = 0


class TorchSource(NamedTuple):
    """What is said to pip about torch: exact requirements and extra pages to look on."""

    requirements: tuple[str, ...]
    pages: tuple[str, ...] = ()
    build: str = ""
    remark: str = ""


def find_torch(
    choice: TorchChoice,
    machine: Machine,
    index_url: str = "",
    fetch: Callable[[str], tuple[int, str]] | None = None,
) -> TorchSource:
    """Find an index page that holds the wanted wheels for this Python and system.

    Args:
        choice: Builds to try, best first.
        machine: Decides the wheel's platform tag.
        index_url: TORCH_INDEX_URL, or ''.
        fetch: Gives (HTTP status, text) of a page, status 0 when the host does not answer.
    Returns:
        The first build that is there; else the plain pinned versions, with a remark that says
        why pip's own index must do.
    """
    fetch = fetch or fetch_page
    plain = tuple(f"{name}=={pinned(name)}" for name in TORCH_FAMILY)
    folders = index_folders(choice, index_url)
    for build, folder in folders:
        status, source = _look_in(folder, build, choice.kind, machine, fetch)
        if source is not None:
            return source
        if status == NO_ANSWER:
            return TorchSource(plain, remark=tell("{url} does not answer", url=folder))
    if not folders:
        return TorchSource(plain)
    builds = ", ".join(build or folder for build, folder in folders)
    return TorchSource(
        plain, remark=tell("{builds}: no such PyTorch for this Python and system", builds=builds)
    )


def index_folders(choice: TorchChoice, index_url: str) -> list[tuple[str, str]]:
    """(build, folder) pairs; TORCH_INDEX_URL is one build's folder or the folder above them."""
    base = (index_url or PYTORCH_INDEX).rstrip("/")
    last = base.rsplit("/", 1)[-1]
    if index_url and BUILD.match(last):
        return [(last, base)]
    if index_url and not choice.builds:
        return [("", base)]
    return [(build, f"{base}/{build}") for build in choice.builds]


def _look_in(
    folder: str,
    build: str,
    kind: str,
    machine: Machine,
    fetch: Callable[[str], tuple[int, str]],
) -> tuple[int, TorchSource | None]:
    """Look in one folder: a page for each package, or one page for all, as some mirrors have."""
    for pages in ([f"{folder}/{name}/" for name in TORCH_FAMILY], [f"{folder}/"]):
        status, text = fetch(pages[0])
        if status == NO_ANSWER:
            return NO_ANSWER, None
        torch = wheel_version(text, "torch", machine) if status == 200 else ""
        if not torch:
            continue
        vision_page = text if len(pages) == 1 else fetch(pages[1])[1]
        vision = wheel_version(vision_page, "torchvision", machine) or pinned("torchvision")
        if len(pages) > 1:
            pages += [f"{folder}/{name}/" for name in TRITON.get(kind, ())]
        requirements = (f"torch=={torch}", f"torchvision=={vision}")
        return status, TorchSource(requirements, tuple(pages), build)
    return 404, None


def wheel_version(page: str, name: str, machine: Machine) -> str:
    """Full version (with +build) of the pinned wheel for this Python and machine, or ''."""
    python = f"cp{sys.version_info[0]}{sys.version_info[1]}"
    system = {"Windows": "win", "Darwin": "macosx"}.get(machine.system, "linux")
    processor = {"x86_64": "(?:x86_64|amd64)", "arm64": "(?:aarch64|arm64)"}.get(
        machine.architecture, re.escape(machine.architecture)
    )
    version = re.escape(pinned(name)) + r"(?:(?:%2B|\+)[\w.]+)?"
    pattern = rf"\b{name}-({version})-{python}-{python}-[\w.]*{system}[\w.]*{processor}\.whl"
    found = re.search(pattern, page)
    return found[1].replace("%2B", "+") if found else ""


def fetch_page(url: str, answer_seconds: float = 5, read_seconds: float = 15) -> tuple[int, str]:
    """(HTTP status, text) of a page; (0, '') when the host does not answer in time.

    A thread does the work, because looking up a host name cannot be given a time limit.
    """
    visit = _Visit(url, answer_seconds)
    threading.Thread(target=visit.go, daemon=True).start()
    if visit.answered.wait(answer_seconds):
        visit.finished.wait(read_seconds)
    return visit.result


class _Visit:
    """One page being fetched; ``result`` is set once it is complete."""

    def __init__(self, url: str, seconds: float) -> None:
        self.url = url
        self.seconds = seconds
        self.result = (NO_ANSWER, "")
        self.answered = threading.Event()
        self.finished = threading.Event()

    def go(self) -> None:
        certificates = os.environ.get("PIP_CERT") or os.environ.get("REQUESTS_CA_BUNDLE")
        try:
            context = ssl.create_default_context(cafile=certificates)
            request = urllib.request.Request(self.url, headers={"User-Agent": "danqing-launch"})
            with urllib.request.urlopen(request, timeout=self.seconds, context=context) as reply:
                self.answered.set()
                self.result = (reply.status, reply.read().decode("utf-8", "replace"))
        except urllib.error.HTTPError as err:
            # The index says 403 or 404 for what it has not; anything else is a proxy's refusal.
            self.result = (err.code if err.code in (403, 404) else NO_ANSWER, "")
        except (OSError, ValueError):
            self.result = (NO_ANSWER, "")
        finally:
            self.answered.set()
            self.finished.set()
