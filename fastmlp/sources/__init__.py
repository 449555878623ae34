"""Rows of data that stay where they are, and are read as they are needed."""
