"""The version, for those who import the rest, for those within it, and for pyproject.toml."""

__version__ = "0.1.0"
