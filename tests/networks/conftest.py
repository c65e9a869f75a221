"""torch made ready before any test imports it."""

from __future__ import annotations

from webui.torch_setup import prepare_torch

prepare_torch(threads=1)
