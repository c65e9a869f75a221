"""Scripts that make many pictures: axes, cells, sheets."""
