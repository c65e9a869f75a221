"""The API's helpers."""
