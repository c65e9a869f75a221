"""Block weights: their lists, and which layer is in which block."""

from __future__ import annotations

import pytest

from tests.networks.test_lora_names import unet
from webui.errors import PromptSyntaxError
from webui.networks.lora.blocks import LISTS, PRESETS, block_of_layers, read_blocks


@pytest.mark.parametrize("count", LISTS)
def test_lists_when_read_name_as_many_blocks(count: int) -> None:
    found = read_blocks(",".join(str(i) for i in range(count)))

    assert len(set(LISTS[count])) == count
    assert found["BASE"] == 0 and found[LISTS[count][-1]] == count - 1


@pytest.mark.parametrize("name", PRESETS)
def test_presets_when_named_give_the_blocks_they_are_named_after(name: str) -> None:
    found = read_blocks(name)

    assert len(found) == 17
    sides = {"IN": found["IN01"] or found["IN08"], "OUT": found["OUT11"] or found["OUT03"]}
    assert all(sides[side] == 1 for side in sides if name.startswith(side))


@pytest.mark.parametrize("text", ["", "1,2", "all", "1,x" + ",0" * 15, "nan" + ",0" * 16])
def test_lists_when_they_are_none_say_what_is_wanted(text: str) -> None:
    with pytest.raises(PromptSyntaxError, match="lbw"):
        read_blocks(text)


@pytest.mark.parametrize(
    ("path", "block"),
    [
        ("conv_in", "IN00"),
        ("down_blocks.0.attentions.0.proj_in", "IN01"),
        ("down_blocks.0.downsamplers.0.conv", "IN03"),
        ("down_blocks.2.attentions.1.transformer_blocks.0.attn1.to_q", "IN08"),
        ("mid_block.attentions.0.proj_in", "M00"),
        ("up_blocks.1.attentions.0.proj_in", "OUT03"),
        ("up_blocks.3.attentions.2.proj_out", "OUT11"),
        ("conv_out", None),
        ("time_embedding.linear_1", None),
    ],
)
def test_layers_are_in_the_block_of_their_original_name(path: str, block: str | None) -> None:
    assert block_of_layers(unet("sd15").shapes).get(path) == block
