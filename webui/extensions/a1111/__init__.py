"""Folders laid out for A1111's web UI, run here; see README.md."""
