"""Makes the environment the program runs in. Standard library only; imports nothing of webui."""
