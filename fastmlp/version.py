"""The version, for those who import the rest as well as for those within it."""

__version__ = "0.1.0"
