"""docs/extensions.md tells of everything there is; its template can be loaded."""

from __future__ import annotations

import inspect
from pathlib import Path

import pytest

from webui.extension_forms import FIELD_TYPES, Form, FormField
from webui.extensions.folders import OFFERS, Manifest, read_extension
from webui.hookspecs import MOMENTS, Hooks, Job, Step

DOCS = Path(__file__).parents[2] / "docs"
TEXT = (DOCS / "extensions.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", MOMENTS)
def test_moment_when_it_exists_then_stands_in_the_document_and_has_a_docstring(name: str) -> None:
    function = getattr(Hooks, name)
    takes = [
        parameter for parameter in inspect.signature(function).parameters if parameter != "self"
    ]
    row = f"| `{name}({', '.join(takes)})` | {MOMENTS[name].answer} |"
    assert row in TEXT
    assert inspect.getdoc(function)
    in_worker = TEXT.index(row) > TEXT.index("### In the worker")
    assert in_worker == (MOMENTS[name].process == "worker")


@pytest.mark.parametrize("field", FIELD_TYPES)
def test_field_when_it_exists_then_stands_in_the_document_with_its_arguments(
    field: type[FormField],
) -> None:
    (row,) = [line for line in TEXT.splitlines() if line.startswith(f"| `{field.__name__}` |")]
    own = set(field.model_fields) - set(FormField.model_fields)
    assert [name for name in own if f"`{name}`" not in row] == []


def test_arguments_when_they_exist_then_stand_in_the_document() -> None:
    assert [name for name in FormField.model_fields if f"`{name}`" not in TEXT] == []
    assert [name for name in Form.model_fields if f"{name}=" not in TEXT] == []
    assert [name for name in Manifest.model_fields if f"\n{name} = " not in TEXT
            and f"[{name}]" not in TEXT] == []  # fmt: skip
    assert [name for name in OFFERS if f"{name} = [" not in TEXT] == []
    of_job = [name for name in vars(Job) if not name.startswith("_")]
    of_step = list(Step.__dataclass_fields__)
    assert [n for n in (*of_job, *of_step) if f"`{n}`" not in TEXT and f"`{n}(" not in TEXT] == []


def test_template_when_read_then_can_be_loaded() -> None:
    found = read_extension(DOCS / "extension-template")
    assert found is not None and (found.problem, found.name) == ("", "extension-template")
    assert found.web is not None and found.model is not None


def test_ten_lines_when_copied_then_are_an_extension(tmp_path: Path) -> None:
    code = TEXT.split("```python\n", 1)[1].split("```", 1)[0]
    (tmp_path / "inverted.py").write_text(code, encoding="utf-8")
    found = read_extension(tmp_path / "inverted.py")
    assert found is not None and found.problem == ""
    names: dict[str, object] = {}
    exec(compile(code, "inverted.py", "exec"), names)
    assert {"forms", "picture_finished"} <= set(names)
    assert len([line for line in code.splitlines() if line.strip()]) <= 10
