"""Trainings: their photographs, their jobs, their states."""
