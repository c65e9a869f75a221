"""What an extension asks people for: forms and their fields, as data.

The page draws them, the API takes them, drafts, presets and recipes carry them; an extension only
declares them and is handed values that fit. Everything here is plain JSON.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, model_validator

from webui.errors import ParamsError

Value = bool | int | float | str
Values = dict[str, Any]
"""Field name → value, of one extension: of the type that its field has."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")]
"""Of fields and forms: small letters, digits and underscores."""
TabName = Literal["txt2img", "img2img", "extras"]
MAX_KEY = 80


class Words(BaseModel):
    """A text of the page in both its languages.

    Attributes:
        en, zh: English and Chinese; without ``zh`` the English one is shown to everybody.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    en: str = ""
    zh: str = ""

    @model_validator(mode="before")
    @classmethod
    def _plain_text(cls, data: Any) -> Any:
        """A plain text stands for itself in both languages; a pair for English and Chinese."""
        if isinstance(data, str):
            return {"en": data}
        if isinstance(data, (tuple, list)):
            return dict(zip(("en", "zh"), data, strict=False))
        return data


class Condition(BaseModel):
    """A field is in sight only while another one has one of these values.

    Attributes:
        field: Name of a field of the same form. values: Any of them shows this one.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    field: str
    values: tuple[Value, ...]


class FormField(BaseModel, ABC):
    """Base of all fields.

    Attributes:
        name: Under which its value travels.
        label, help: Words beside it and behind its question mark.
        infotext: Recipe key under which a picture tells the value; empty = it tells none. It is
            written where the form is switched on; where it has no switch, when the value is
            another than ``default``. Pasting the recipe puts it back.
        visible_if: None = always in sight; the other field must be in sight, too. A field out of
            sight keeps its value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: ClassVar[str] = ""
    name: Name
    label: Words = Words()
    help: Words = Words()
    infotext: str = Field(default="", max_length=MAX_KEY)
    visible_if: Condition | None = None

    @property
    def usual(self) -> Any:
        """The value nobody has changed."""
        return getattr(self, "default", "")

    @model_validator(mode="after")
    def _usual_fits(self) -> FormField:
        self.checked(self.usual)
        return self

    @abstractmethod
    def checked(self, value: Any) -> Any:
        """The value in the field's own type.

        Raises:
            ValueError: It does not fit; says what would.
        """

    @property
    def recipe_keys(self) -> tuple[str, ...]:
        """Keys that tell its value in recipes."""
        return (self.infotext,) if self.infotext else ()

    def to_recipe(self, value: Any) -> dict[str, Any]:
        """A value by its recipe keys."""
        return {self.infotext: value} if self.infotext else {}

    def from_recipe(self, pairs: Mapping[str, str]) -> Any:
        """What a recipe says, not checked; None where it says nothing."""
        return pairs.get(self.infotext) if self.infotext else None

    def to_page(self) -> dict[str, Any]:
        """Plain data for the script that draws it."""
        return {"kind": self.kind, **self.model_dump(mode="json")}


_TRUE, _FALSE = ("true", "yes", "y", "1"), ("false", "no", "n", "0", "")


class Switch(FormField):
    """Yes or no."""

    kind: ClassVar[str] = "switch"
    default: bool = False

    def checked(self, value: Any) -> Value:
        known = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
        found = known.get(str(value).strip().lower())
        if found is None:
            raise ValueError("true or false is needed")
        return found


class Whole(FormField):
    """A whole number, drawn as a slider where both limits are near enough.

    Attributes:
        minimum, maximum: Both included.
    """

    kind: ClassVar[str] = "whole"
    default: int = 0
    minimum: int = 0
    maximum: int = 100
    step: int = Field(default=1, ge=1)

    def checked(self, value: Any) -> Value:
        return int(_number_between(value, self.minimum, self.maximum, is_whole=True))


class Number(FormField):
    """A number with a fraction.

    Attributes:
        minimum, maximum: Both included.
    """

    kind: ClassVar[str] = "number"
    default: float = 0.0
    minimum: float = 0.0
    maximum: float = 1.0
    step: float = Field(default=0.01, gt=0)

    def checked(self, value: Any) -> Value:
        return _number_between(value, self.minimum, self.maximum)


class Choice(FormField):
    """One of several.

    Attributes:
        choices: What can be chosen. words: What the page shows for each, in the same order.
    """

    kind: ClassVar[str] = "choice"
    choices: tuple[str, ...] = Field(min_length=1)
    words: tuple[Words, ...] = ()
    default: str = ""

    @property
    def usual(self) -> Value:
        return self.default or self.choices[0]

    def checked(self, value: Any) -> Value:
        if (
            isinstance(value, int)
            and not isinstance(value, bool)
            and value in range(len(self.choices))
        ):
            return self.choices[value]
        if value not in self.choices:
            raise ValueError(f"one of {', '.join(self.choices)} is needed")
        return str(value)


class Text(FormField):
    """A line, or a box where ``lines`` is more than one.

    Attributes:
        most: Characters.
        is_needed: Of a plan: empty makes no pictures, and a recipe without it tells of no plan.
        file_endings: The person may read a text file with one of these endings into it.
    """

    kind: ClassVar[str] = "text"
    default: str = ""
    lines: int = Field(default=1, ge=1, le=40)
    most: int = Field(default=200_000, ge=1, le=2_000_000)
    is_needed: bool = False
    file_endings: tuple[str, ...] = ()

    def checked(self, value: Any) -> Value:
        if isinstance(value, (dict, list)) or value is None or len(str(value)) > self.most:
            raise ValueError(f"a text of at most {self.most} characters is needed")
        return str(value)


class Picture(FormField):
    """A picture of the person's. Its value is the sha256 of a kept input picture, '' = none; a
    hook gets the picture by ``job.picture(name)``."""

    kind: ClassVar[str] = "picture"

    def checked(self, value: Any) -> Value:
        text = str(value or "")
        if text and not (len(text) == 64 and set(text) <= set("0123456789abcdef")):
            raise ValueError("the sha256 of a kept input picture is needed, or nothing")
        return text


class ModelFile(FormField):
    """A file of one of the models folders, by its name below that folder; '' = none.

    Attributes:
        folder: A folder's name below models/, such as ``"ControlNet"``.
        endings: Of files that are offered.
        otherwise: Names of files of which the first that is there serves while none is chosen.
    """

    kind: ClassVar[str] = "file"
    folder: str = Field(pattern=r"^[\w][\w .-]*$")
    endings: tuple[str, ...] = (".safetensors",)
    otherwise: tuple[str, ...] = ()
    default: str = ""

    def checked(self, value: Any) -> Value:
        text = str(value or "")
        parts = text.replace("\\", "/").split("/")
        if text and (".." in parts or text.startswith("/") or ":" in text):
            raise ValueError(f"the name of a file in models/{self.folder} is needed")
        return text


class AxisChoice(BaseModel):
    """Something that can differ along an axis.

    Attributes:
        name: Its value, also in recipes. words: What the page shows; empty = the name.
        tabs: On which tabs it can be chosen.
        values: What its values are chosen from, where that is a list.
        names: They are also chosen from what is there of this kind, see ``hookspecs.Names``.
        is_numbers: Its values are numbers and ranges of them, which the page says.
        is_offered: False = it has its place in lists of the API and cannot be chosen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1)
    words: Words = Words()
    tabs: tuple[TabName, ...] = ("txt2img", "img2img")
    values: tuple[str, ...] = ()
    names: str = ""
    is_numbers: bool = False
    is_offered: bool = True

    @property
    def has_menu(self) -> bool:
        """Its values are chosen from a list; they may be written all the same."""
        return bool(self.values or self.names)


class Axis(FormField):
    """What differs along one side of a plan's sheet, and its values. Only plans have such fields.

    Its value is ``{"axis": a choice's name, "values": text}``, values with commas between them and
    double quotes around those that hold one; a list of values may be given instead of the text.

    Attributes:
        choices: What can differ; the first one is nothing, and has no values.
        default: Name of the usual choice; empty = the first.
        infotext: Recipes tell the value as «… Type» and «… Values»; «Fixed … Values», if a plan
            writes it, is read before these.
    """

    kind: ClassVar[str] = "axis"
    choices: tuple[AxisChoice, ...] = Field(min_length=1)
    default: str = ""

    @property
    def usual(self) -> dict[str, str]:
        return {"axis": self.default or self.choices[0].name, "values": ""}

    def checked(self, value: Any) -> dict[str, str]:
        if not isinstance(value, Mapping) or not set(value) <= {"axis", "values"}:
            raise ValueError('an object is needed: {"axis": …, "values": …}')
        wanted = str(value.get("axis") or self.usual["axis"]).strip().lower()
        name = next((one.name for one in self.choices if one.name.lower() == wanted), None)
        if name is None:
            known = ", ".join(one.name for one in self.choices if one.is_offered)
            raise ValueError(f"there is no such axis; one of {known} is needed")
        return {"axis": name, "values": _values_text(value.get("values", ""))}

    @property
    def recipe_keys(self) -> tuple[str, ...]:
        key = self.infotext
        return (f"{key} Type", f"{key} Values", f"Fixed {key} Values") if key else ()

    def to_recipe(self, value: Any) -> dict[str, Any]:
        if not self.infotext or value["axis"] == self.choices[0].name:
            return {}
        kind, values, _ = self.recipe_keys
        return {kind: value["axis"], values: value["values"]}

    def from_recipe(self, pairs: Mapping[str, str]) -> Any:
        if not self.infotext or self.recipe_keys[0] not in pairs:
            return None
        kind, values, fixed = self.recipe_keys
        return {"axis": pairs[kind], "values": pairs.get(fixed) or pairs.get(values, "")}


def _values_text(values: Any) -> str:
    if isinstance(values, str):
        return values
    if not isinstance(values, Sequence) or not all(isinstance(one, str) for one in values):
        raise ValueError("its values are a text or a list of texts")
    return join_values(values)


def join_values(values: Sequence[str]) -> str:
    """Values of an axis as its text: quotes around those that need them."""
    return ", ".join(_quoted(value) for value in values)


def _quoted(value: str) -> str:
    needs_quotes = any(mark in value for mark in ',"\n') or value != value.strip()
    return '"' + value.replace('"', '""') + '"' if needs_quotes else value


AnyField = Switch | Whole | Number | Choice | Text | Picture | ModelFile
PlanField = AnyField | Axis
FIELD_TYPES: tuple[type[FormField], ...] = (
    Switch, Whole, Number, Choice, Text, Picture, ModelFile,
)  # fmt: skip
"""Every kind of field a form can have; plans have those and ``Axis``."""


class Form(BaseModel):
    """What one extension shows on some tabs: one collapsible block.

    Attributes:
        tabs: On which tabs it stands.
        title: Above it; empty = the extension's own title.
        fields: In the order they are drawn; unique names.
        has_switch: It has a switch in its head, and the extension acts only while that is on.
            Without one it acts on every job of its tabs.
        is_on: How the switch stands at first.
        is_open: Whether the block is unfolded at first.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tabs: tuple[TabName, ...] = ("txt2img", "img2img")
    title: Words = Words()
    fields: tuple[AnyField, ...] = ()
    has_switch: bool = True
    is_on: bool = False
    is_open: bool = False

    @model_validator(mode="after")
    def _names_are_unique(self) -> Form:
        unique_fields(self.fields)
        return self

    def to_page(self) -> dict[str, Any]:
        """Plain data for the script that draws it."""
        return {**self.model_dump(mode="json"), "fields": [f.to_page() for f in self.fields]}


SomeField = TypeVar("SomeField", bound=FormField)


def unique_fields(fields: tuple[SomeField, ...]) -> dict[str, SomeField]:
    """Fields by name.

    Raises:
        ValueError: Two have the same name, or the same recipe key.
    """
    found: dict[str, SomeField] = {}
    for field in fields:
        if field.name in found:
            raise ValueError(f"two fields are called {field.name!r}; names must be unique")
        found[field.name] = field
    keys = [key for field in fields for key in field.recipe_keys]
    if len(set(keys)) != len(keys):
        raise ValueError("two fields have the same recipe key (infotext); keys must be unique")
    return found


def under_labels(fields: Sequence[SomeField], labels: Mapping[str, str]) -> tuple[SomeField, ...]:
    """The fields that are named, in that order, under other labels: what another program calls
    them."""
    known = {one.name: one for one in fields}
    return tuple(
        known[name].model_copy(update={"label": Words(en=label)}) for name, label in labels.items()
    )


def checked_values(owner: str, fields: Mapping[str, FormField], given: Mapping[str, Any]) -> Values:
    """All values of an extension's fields, those left out as usual.

    Args:
        owner: The extension, for the error.
    Raises:
        ParamsError: A field it does not have, or a value that does not fit (``field``).
    """
    unknown = [name for name in given if name not in fields]
    if unknown:
        raise ParamsError(
            f"The extension {owner} has no field called {unknown[0]!r}.",
            f"Its fields: {', '.join(fields) or 'none'}.",
            field=f"extensions.{owner}.{unknown[0]}",
        )
    return {
        name: _checked(owner, field, given[name]) if name in given else field.usual
        for name, field in fields.items()
    }


def _checked(owner: str, field: FormField, value: Any) -> Value:
    try:
        return field.checked(value)
    except ValueError as err:
        raise ParamsError(
            f"{field.name} of the extension {owner} was {str(value)[:80]!r}; {err}.",
            "Change that value and try again.",
            field=f"extensions.{owner}.{field.name}",
        ) from err


def values_in_recipe(
    fields: Mapping[str, FormField], values: Mapping[str, Any], *, with_usual: bool
) -> dict[str, Any]:
    """Recipe keys and values.

    Args:
        with_usual: Those that are as usual, too: they tell that a form was switched on.
    """
    return {
        key: said
        for name, field in fields.items()
        if name in values and (with_usual or values[name] != field.usual)
        for key, said in field.to_recipe(values[name]).items()
    }


def values_from_recipe(fields: Mapping[str, FormField], pairs: Mapping[str, str]) -> Values:
    """What a recipe says of these fields; a value that does not fit is left out."""
    found: Values = {}
    for name, field in fields.items():
        said = field.from_recipe(pairs)
        if said is not None:
            with contextlib.suppress(ValueError):
                found[name] = field.checked(said)
    return found


def _number_between(value: Any, low: float, high: float, *, is_whole: bool = False) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("a number is needed") from None
    if not math.isfinite(number):
        raise ValueError("a finite number is needed")
    if not low <= number <= high or (is_whole and not number.is_integer()):
        what = "a whole number" if is_whole else "a number"
        raise ValueError(f"{what} from {low:.12g} to {high:.12g} is needed")
    return number
