"""Getting files of weights over HTTP: the one network layer of the program; no torch."""
