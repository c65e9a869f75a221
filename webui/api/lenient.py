"""Field types that take what A1111 clients really send (webui/lenient.py says how it is read)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator

from webui.lenient import read_bool, read_float, read_int, read_text

Int = Annotated[int | None, BeforeValidator(read_int)]
Float = Annotated[float | None, BeforeValidator(read_float)]
Bool = Annotated[bool | None, BeforeValidator(read_bool)]
Text = Annotated[str | None, BeforeValidator(read_text)]
