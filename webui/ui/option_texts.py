"""What each option does and when one would change it, English and Chinese, and its Chinese name.

The sentences lie in ``option_texts.json``: by an option's key the English sentence, the Chinese
name and the Chinese sentence. Browsers get those of their language when the settings are opened.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from webui.options import Option
from webui.ui.texts import CHINESE

FILE = Path(__file__).with_name("option_texts.json")


@dataclass(frozen=True)
class OptionText:
    """The texts of one option; its English name is ``Option.label``."""

    sentence: str
    chinese_label: str
    chinese_sentence: str

    def told(self, language: str) -> str:
        """The sentence in a language."""
        return self.chinese_sentence if language == CHINESE else self.sentence


@cache
def option_texts() -> dict[str, OptionText]:
    """Texts by option key."""
    read: dict[str, list[str]] = json.loads(FILE.read_text(encoding="utf-8"))
    return {key: OptionText(*texts) for key, texts in read.items()}


def text_of(option: Option) -> OptionText:
    """An option's texts; its English name alone where it has none yet."""
    return option_texts().get(option.key, OptionText("", option.label, ""))
