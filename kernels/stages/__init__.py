"""The steps of a program, one kind to a file: each forward and back; see `program`."""
