"""The preparation of a torch process, each check in a process of its own."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[2]


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_networks_import_without_packages_they_do_not_need() -> None:
    code = (
        "import sys; from webui.torch_setup import prepare_torch; prepare_torch(threads=1)\n"
        "import webui.checkpoints.load, torch, os\n"
        "print(sorted({'torchvision','scipy','accelerate','peft'} & set(sys.modules)),"
        "torch.get_num_threads(), os.environ['HF_HUB_OFFLINE'])"
    )
    assert run(code) == "[] 1 1"


@pytest.mark.skipif(
    importlib.util.find_spec("torchvision") is None, reason="torchvision is not installed"
)
def test_torchvision_works_after_preparation_and_its_nms_is_right() -> None:
    code = (
        "from webui.torch_setup import prepare_torch; prepare_torch(); prepare_torch()\n"
        "import torch, torchvision\n"
        "boxes = torch.tensor([[0,0,10,10],[1,1,10,10],[20,20,30,30],[0,0,4,4.]])\n"
        "scores = torch.tensor([.5,.9,.3,.1])\n"
        "print(torch.ops.torchvision.nms(boxes, scores, .5).tolist(),"
        "torch.ops.torchvision.nms(boxes[:0], scores[:0], .5).tolist())"
    )
    assert run(code) == "[1, 2, 3] []"


def test_hidden_packages_come_back() -> None:
    code = (
        "import sys, importlib.util; from webui.torch_setup import hidden_packages\n"
        "import json\n"
        "with hidden_packages(('json', 'wave', 'colorsys')):\n"
        "    print('json' in sys.modules, importlib.util.find_spec('wave'))\n"
        "import wave, colorsys; print(wave.__name__)"
    )
    assert run(code) == "True None\nwave"
