"""The command line: fastmlp compare, train, predict, evaluate, warmup and info."""

from fastmlp.cli.program import main

__all__ = ["main"]
