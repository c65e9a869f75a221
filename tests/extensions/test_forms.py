"""Fields: what fits, what is refused, what recipes tell."""

from __future__ import annotations

from typing import Any

import pytest

from webui.errors import ParamsError
from webui.extension_forms import (
    FIELD_TYPES,
    Choice,
    Form,
    FormField,
    ModelFile,
    Number,
    Picture,
    Switch,
    Text,
    Whole,
    Words,
    checked_values,
    unique_fields,
    values_from_recipe,
    values_in_recipe,
)

KEY = "ab" * 32
FIELDS: tuple[Any, ...] = (
    Switch(name="flip", infotext="Flip"),
    Whole(name="count", default=2, minimum=1, maximum=9, infotext="Count"),
    Number(name="share", default=0.5, infotext="Share"),
    Choice(name="how", choices=("soft", "hard"), infotext="How"),
    Text(name="words", infotext="Words"),
    Picture(name="image"),
    ModelFile(name="net", folder="Lora", infotext="Net"),
)


@pytest.mark.parametrize(
    ("field", "given", "value"),
    [
        (FIELDS[0], "True", True), (FIELDS[0], 0, False), (FIELDS[1], "3", 3), (FIELDS[1], 3.0, 3),
        (FIELDS[2], "0.25", 0.25), (FIELDS[3], "hard", "hard"), (FIELDS[3], 1, "hard"),
        (FIELDS[4], 5, "5"), (FIELDS[5], KEY, KEY), (FIELDS[5], None, ""),
        (FIELDS[6], "a/b.safetensors", "a/b.safetensors"),
    ],
)  # fmt: skip
def test_value_when_it_fits_then_has_the_fields_own_type(
    field: FormField, given: Any, value: Any
) -> None:
    assert (field.checked(given), type(field.checked(given))) == (value, type(value))


@pytest.mark.parametrize(
    ("kind", "declared"),
    [(Whole, {"default": 200}), (Number, {"default": -1}), (Whole, {"minimum": 5, "maximum": 4}),
     (Choice, {"choices": ("a",), "default": "b"}), (Number, {"step": 0})],
)  # fmt: skip
def test_field_when_its_usual_value_does_not_fit_then_is_refused_where_it_is_declared(
    kind: type[FormField], declared: dict[str, Any]
) -> None:
    with pytest.raises(ValueError, match=r"is needed|greater than 0"):
        kind(name="one", **declared)


@pytest.mark.parametrize(
    ("name", "given"),
    [
        ("flip", "perhaps"), ("count", 10), ("count", 1.5), ("count", "two"), ("share", 1.01),
        ("share", float("nan")), ("how", "gently"), ("how", 2), ("how", True), ("words", ["a"]),
        ("image", "ab"), ("net", "../secret"), ("net", "/etc/passwd"), ("net", "c:\\x"),
    ],
)  # fmt: skip
def test_value_when_it_does_not_fit_then_is_refused_by_name(name: str, given: Any) -> None:
    with pytest.raises(ParamsError) as refused:
        checked_values("mine", unique_fields(FIELDS), {name: given})
    assert refused.value.field == f"extensions.mine.{name}"


def test_values_when_left_out_then_are_as_usual_and_unknown_ones_are_refused() -> None:
    fields = unique_fields(FIELDS)
    assert checked_values("mine", fields, {}) == {
        "flip": False, "count": 2, "share": 0.5, "how": "soft", "words": "", "image": "", "net": "",
    }  # fmt: skip
    with pytest.raises(ParamsError, match="no field called 'colour'"):
        checked_values("mine", fields, {"colour": 1})


def test_recipe_when_written_and_read_then_gives_the_values_back() -> None:
    fields = unique_fields(FIELDS)
    values = checked_values("mine", fields, {"flip": True, "count": 5, "words": "a, b: c"})
    pairs = values_in_recipe(fields, values, with_usual=False)
    assert pairs == {"Flip": True, "Count": 5, "Words": "a, b: c"}
    texts = {key: str(value) for key, value in pairs.items()} | {"Share": "much"}
    assert values_from_recipe(fields, texts) == {"flip": True, "count": 5, "words": "a, b: c"}
    assert set(values_in_recipe(fields, values, with_usual=True)) == {
        "Flip", "Count", "Share", "How", "Words", "Net",
    }  # fmt: skip


def test_form_when_names_or_keys_are_twice_then_is_refused() -> None:
    with pytest.raises(ValueError, match="must be unique"):
        Form(fields=(Switch(name="a"), Whole(name="a")))
    with pytest.raises(ValueError, match="same recipe key"):
        Form(fields=(Switch(name="a", infotext="K"), Whole(name="b", infotext="K")))


def test_form_when_told_to_the_page_then_every_kind_of_field_names_itself() -> None:
    told = [field["kind"] for field in Form(fields=FIELDS).to_page()["fields"]]
    assert told == ["switch", "whole", "number", "choice", "text", "picture", "file"]
    assert len(told) == len(FIELD_TYPES)


def test_words_when_given_plainly_or_as_a_pair_then_are_both_languages() -> None:
    assert Words.model_validate("Plain") == Words(en="Plain")
    assert Switch.model_validate({"name": "a", "label": ("En", "中")}).label.zh == "中"
