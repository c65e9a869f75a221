"""Runs jobs on one device: joins the rooms that know models."""
