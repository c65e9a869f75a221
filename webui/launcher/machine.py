"""What is in this machine, as far as it decides which PyTorch fits."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

Runner = Callable[[list[str]], "str | None"]
KFD_NODES = Path("/sys/class/kfd/kfd/topology/nodes")


class NvidiaCard(NamedTuple):
    """One line of nvidia-smi. ``capability`` is (major, minor), (0, 0) when not told."""

    name: str
    driver: str
    capability: tuple[int, int]


class Machine(NamedTuple):
    """``amd`` says how an AMD card was recognised; ``remark``, what is odd about this machine."""

    system: str
    architecture: str
    nvidia: tuple[NvidiaCard, ...] = ()
    amd: str = ""
    remark: str = ""


def run_quietly(command: list[str], seconds: float = 10) -> str | None:
    """Output of a small program, or None when it is missing, fails or takes too long."""
    try:
        done = subprocess.run(command, capture_output=True, timeout=seconds, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.decode("utf-8", "replace")


def probe_machine(run: Runner = run_quietly) -> Machine:
    """Look at this machine: system, NVIDIA cards with driver, AMD cards.

    Args:
        run: Gives the output of a command, or None; tests hand in a fake.
    """
    system, architecture = platform.system(), platform.machine().lower()
    architecture = {"amd64": "x86_64", "aarch64": "arm64"}.get(architecture, architecture)
    cards, remark = probe_nvidia(run)
    amd = probe_amd() if system == "Linux" and not cards else ""
    return Machine(system, architecture, cards, amd, remark)


def probe_nvidia(run: Runner = run_quietly) -> tuple[tuple[NvidiaCard, ...], str]:
    """NVIDIA cards, and a remark when the driver's own program finds none."""
    program = shutil.which("nvidia-smi") or "/usr/lib/wsl/lib/nvidia-smi"
    if not os.path.exists(program):
        return (), ""
    query = "--query-gpu=name,driver_version"
    text = run([program, f"{query},compute_cap", "--format=csv,noheader"])
    # Old drivers do not know compute_cap.
    text = text or run([program, query, "--format=csv,noheader"])
    cards = parse_nvidia(text or "")
    return cards, "" if cards else "nvidia-smi"


def parse_nvidia(text: str) -> tuple[NvidiaCard, ...]:
    """Cards from ``nvidia-smi --query-gpu=name,driver_version[,compute_cap]`` without header."""
    cards: list[NvidiaCard] = []
    for line in text.splitlines():
        parts = [part.strip() for part in line.split(",")]
        if len(parts) < 2 or not re.match(r"\d+\.", parts[1]):
            continue
        number = re.match(r"(\d+)\.(\d+)$", parts[2]) if len(parts) > 2 else None
        capability = (int(number[1]), int(number[2])) if number else (0, 0)
        cards.append(NvidiaCard(parts[0], parts[1], capability))
    return tuple(cards)


def probe_amd(nodes: Path = KFD_NODES) -> str:
    """How an AMD card was recognised: chip names, or where ROCm shows itself, or ''."""
    chips: list[str] = []
    for file in sorted(nodes.glob("*/properties")):
        try:
            number = re.search(r"gfx_target_version (\d+)", file.read_text())
        except OSError:
            continue
        if number and int(number[1]):  # 0 is the processor's own node
            chips.append(chip_name(int(number[1])))
    if chips:
        return " ".join(chips)
    if os.path.exists("/opt/rocm"):
        return "/opt/rocm"
    if shutil.which("rocminfo"):
        return "rocminfo"
    return "/dev/kfd" if os.path.exists("/dev/kfd") else ""


def chip_name(number: int) -> str:
    """The kernel's gfx_target_version as AMD writes it: 90010 is gfx90a, 110000 gfx1100."""
    return f"gfx{number // 10000}{number // 100 % 100:x}{number % 100:x}"
