"""Rows that are read when they are needed: files, data frames, sparse matrices, anybody's own."""
