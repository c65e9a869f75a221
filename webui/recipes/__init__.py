"""Recipes of other programs, read into A1111's words."""

from webui.recipes.read import read_items, read_picture, read_text
from webui.recipes.recipe import Recipe

__all__ = ["Recipe", "read_items", "read_picture", "read_text"]
