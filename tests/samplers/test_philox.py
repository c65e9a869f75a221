from __future__ import annotations

import pytest
import torch

from webui.samplers.philox import PhiloxGenerator


def test_draws_equal_the_check_values() -> None:
    generator = PhiloxGenerator(12345)
    first = [0.57864, -0.52476, -0.29190, 0.01401, -2.16473, 0.27899]
    second = [2.70129, -0.71039, -1.37546, -1.51998, 1.86083, -0.21165]
    assert generator.draw((6,)).tolist() == pytest.approx(first, abs=1e-5)
    assert generator.draw((6,)).tolist() == pytest.approx(second, abs=1e-5)


def test_seed_above_32_bits_uses_both_key_words() -> None:
    expected = [-0.28274, -1.01280, 0.00953]
    assert PhiloxGenerator(2**32 + 7).draw((3,)).tolist() == pytest.approx(expected, abs=1e-5)


def test_shape_is_filled_row_by_row() -> None:
    flat, shaped = PhiloxGenerator(1).draw((24,)), PhiloxGenerator(1).draw((2, 3, 4))
    assert shaped.dtype == torch.float32
    assert torch.equal(flat.view(2, 3, 4), shaped)


def test_numbers_are_unit_normal() -> None:
    numbers = PhiloxGenerator(3).draw((200_000,))
    assert float(numbers.mean()) == pytest.approx(0, abs=0.01)
    assert float(numbers.std()) == pytest.approx(1, abs=0.01)
    assert float((numbers**4).mean()) == pytest.approx(3, abs=0.1)


@pytest.mark.gpu
@pytest.mark.parametrize("seed", [0, 12345, 2**32 + 7, 2**63 + 11])
def test_numbers_are_those_of_a_real_card(seed: int) -> None:
    card = torch.Generator("cuda").manual_seed(seed)
    ours = PhiloxGenerator(seed)
    for shape in ((4, 64, 64), (4, 96, 64), (4, 64, 64)):
        theirs = torch.randn(shape, device="cuda", generator=card).cpu()
        assert torch.allclose(ours.draw(shape), theirs, atol=1e-5)
