"""Extensions: find them, load them, fence off what they do, and say what went wrong."""
