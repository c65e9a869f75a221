"""Torch is made ready before any test imports a network."""

from webui.torch_setup import prepare_torch

prepare_torch()
