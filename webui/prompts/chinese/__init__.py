"""Prompts in Chinese: turned into the English that models know, by our own dictionary."""
