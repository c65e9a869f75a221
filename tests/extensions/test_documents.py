"""docs/extensions.md tells of everything there is; its template can be loaded."""

from __future__ import annotations

import inspect
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from webui.extension_forms import FIELD_TYPES, Axis, AxisChoice, Form, FormField
from webui.extensions.folders import OFFERS, Manifest, read_extension
from webui.hookspecs import MOMENTS, Hooks, Job, Names, Plan, Sheet, Step

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


@pytest.mark.parametrize("field", (*FIELD_TYPES, Axis))
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
    assert [name for name in AxisChoice.model_fields if f"{name}, " not in TEXT
            and f"{name})" not in TEXT] == []  # fmt: skip
    assert [n for n in vars(Names) if not n.startswith("_") and f"names.{n}(" not in TEXT] == []
    of_plan = [*Plan.__dataclass_fields__, *Sheet.__dataclass_fields__]
    told = (*of_job, *of_step, *of_plan)
    assert [n for n in told if f"`{n}`" not in TEXT and f"`{n}(" not in TEXT] == []


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


def test_plan_when_copied_then_is_an_extension_that_plans(tmp_path: Path) -> None:
    section = TEXT.split("## Many pictures of one request", 1)[1]
    code = section.split("```python\n", 1)[1].split("```", 1)[0]
    names: dict[str, Any] = {}
    exec(compile(code, "seed_walk.py", "exec"), names)
    (plan,) = names["plans"]()
    request, known = SimpleNamespace(seed=5), SimpleNamespace(seed=int)
    sheet = plan.sheet(request, {"pictures": 2}, known)
    assert (plan.title.zh, list(sheet.cells)) == ("种子漫步", [{"seed": 5}, {"seed": 6}])
