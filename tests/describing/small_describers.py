"""A tagger that tells colours and a captioner of random numbers, both as folders of models."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors.torch import save_file

TAGS = (
    ("9999999", "general", "9"), ("1", "red_coat", "0"), ("2", "green_hat", "0"),
    ("3", "alice_(story)", "4"), ("4", "^_^", "0"),
)  # fmt: skip
"""Id, name, category. The network is sure of ``red_coat`` for red pictures and so on."""


def write_tagger(folder: Path, tags: Sequence[tuple[str, str, str]] = TAGS) -> Path:
    """A WD tagger of two layers: the mean colour, and for each tag a weight of each channel.

    Answers for a red picture: rating 0.5, red_coat 0.98, green_hat 0.02, alice 0.79, ^_^ 0.69.
    """
    folder.mkdir(parents=True)
    rows = [f"{number},{name},{kind},1" for number, name, kind in tags]
    (folder / "selected_tags.csv").write_text("tag_id,name,category,count\n" + "\n".join(rows))
    # One column a tag, one row a channel in the order that the network is given: BGR.
    columns = [(0, 0, 0), (0, -8, 8), (0, 8, -8), (0, 0, 2.6), (0, 0, 1.6)]
    bias = [0, -4, -4, -1.3, -0.8]
    weights = [column[channel] / 255 for channel in range(3) for column in columns]
    (folder / "model.onnx").write_bytes(
        _onnx(
            [_node("ReduceMean", ["input"], "mean", axes=[1, 2], keepdims=0),
             _node("Gemm", ["mean", "weights", "bias"], "logits"),
             _node("Sigmoid", ["logits"], "output")],
            [_tensor("weights", (3, 5), weights), _tensor("bias", (5,), bias)],
        )
    )  # fmt: skip
    return folder


def write_captioner(folder: Path, *, is_pickle: bool = False) -> Path:
    """BLIP of a few numbers a layer, whose words are ``w0``, ``w1`` …"""
    from transformers import BlipConfig, BlipForConditionalGeneration

    folder.mkdir(parents=True)
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "[DEC]", "[ENC]"]
    words += [f"w{number}" for number in range(33)]
    text = {
        "vocab_size": len(words), "hidden_size": 16, "encoder_hidden_size": 16,
        "intermediate_size": 16, "projection_dim": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "max_position_embeddings": 64, "bos_token_id": 5,
        "eos_token_id": 3, "pad_token_id": 0, "sep_token_id": 3,
    }  # fmt: skip
    vision = {
        "hidden_size": 16, "intermediate_size": 16, "projection_dim": 16, "num_hidden_layers": 1,
        "num_attention_heads": 2, "image_size": 32, "patch_size": 16,
    }  # fmt: skip
    torch.manual_seed(0)
    config = BlipConfig(text_config=text, vision_config=vision, projection_dim=16)
    network = BlipForConditionalGeneration(config)
    with torch.no_grad():
        for parameter in network.parameters():  # large: else all pictures get the same words
            parameter.normal_(std=1.0)
    network.save_pretrained(folder)
    if is_pickle:
        (folder / "model.safetensors").unlink()
        torch.save(network.state_dict(), folder / "pytorch_model.bin")
    (folder / "vocab.txt").write_text("\n".join(words))
    return folder


def damage_captioner(folder: Path) -> None:
    """Leave one tensor alone in the weights."""
    save_file({"lonely": torch.zeros(1)}, folder / "model.safetensors")


# ONNX files are Protocol Buffers: fields by number, each with a kind and a value.


def _field(number: int, value: bytes | int | str) -> bytes:
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    found = b""
    while value > 127:
        found, value = found + bytes([value & 127 | 128]), value >> 7
    return found + bytes([value])


def _node(kind: str, inputs: Sequence[str], output: str, **attributes: int | list[int]) -> bytes:
    told = b"".join(_field(1, name) for name in inputs) + _field(2, output) + _field(4, kind)
    for name, value in attributes.items():
        if isinstance(value, int):
            told += _field(5, _field(1, name) + _field(3, value) + _field(20, 2))
        else:
            numbers = b"".join(_field(8, number) for number in value)
            told += _field(5, _field(1, name) + numbers + _field(20, 7))
    return told


def _tensor(name: str, shape: Sequence[int], values: Sequence[float]) -> bytes:
    sizes = b"".join(_field(1, size) for size in shape)
    data = struct.pack(f"<{len(values)}f", *values)
    return sizes + _field(2, 1) + _field(8, name) + _field(9, data)


def _value(name: str, shape: Sequence[int]) -> bytes:
    sizes = b"".join(_field(1, _field(1, size)) for size in shape)
    return _field(1, name) + _field(2, _field(1, _field(1, 1) + _field(2, sizes)))


def _onnx(nodes: Sequence[bytes], tensors: Sequence[bytes]) -> bytes:
    graph = b"".join(_field(1, node) for node in nodes) + _field(2, "tagger")
    graph += b"".join(_field(5, tensor) for tensor in tensors)
    graph += _field(11, _value("input", (1, 448, 448, 3))) + _field(12, _value("output", (1, 5)))
    return _field(1, 8) + _field(7, graph) + _field(8, _field(1, "") + _field(2, 13))
