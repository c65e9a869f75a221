from __future__ import annotations

import pytest

from webui.prompts.tokenizer import ClipTokenizer


@pytest.fixture(scope="session")
def tokenizer() -> ClipTokenizer:
    return ClipTokenizer.load()
