"""Extensions in the web process."""
