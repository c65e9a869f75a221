"""What stands in a form and what helps to fill it: drafts, presets, undo, completion."""
