"""POST /sdapi/v1/png-info: the recipe inside a picture."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.routing import APIRoute

from webui.api.lenient import json_safe
from webui.api.pictures import decode_picture, invalid_picture
from webui.api.schemas import PngInfoAnswer, PngInfoBody
from webui.infotext import parse_infotext, with_defaults
from webui.pictures import read_infotext, read_items
from webui.studio import Studio
