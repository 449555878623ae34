"""The command line: fastmlp compare, train, predict, warmup and info."""

from fastmlp.cli.program import main

__all__ = ["main"]
