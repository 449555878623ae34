"""The program: it finds the command, runs it, and says what went wrong.

What a command needs is imported when it runs, so that help and version come at once.
"""

import argparse
import sys
import warnings

from fastmlp.cli import compare, evaluate, info, predict, train, warmup
from fastmlp.cli.console import (
    BAD_INPUT,
    INTERRUPTED,
    NOBODY_READS,
    discard,
    flush_errors,
    print_error,
    print_warning,
    say,
)
from fastmlp.cli.options import EXIT_STATUSES


def main(argv=None) -> int:
    """Run a command; return its exit status.

    Parameters
    ----------
    argv : list of str or None, default None
        The arguments, without the program's name; None takes those of the process.
    """
    try:
        try:
            return _run(argv)
        finally:
            flush_errors()
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:  # `head` has seen enough, or a pager was left
        discard(sys.stdout)
        return NOBODY_READS
    except OSError as error:  # a full disk
        discard(sys.stdout)
        print_error(error)
        return BAD_INPUT


def _run(argv):
    try:
        arguments = _parser().parse_args(argv)
        with warnings.catch_warnings():
            warnings.showwarning = print_warning
            return arguments.run(arguments)
    except KeyboardInterrupt:
        say("fastmlp: interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        raise
    except (ValueError, TypeError, OSError, ImportError, MemoryError) as error:
        print_error(" ".join(str(error).split()) or "out of memory")
        return BAD_INPUT


class _Parser(argparse.ArgumentParser):
    """Reports a usage error like any other bad input, in one line."""

    def __init__(self, **options):
        super().__init__(
            formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options
        )

    def error(self, message):
        raise ValueError(f"{message} (see {self.prog} --help)")


def _parser():
    from fastmlp.version import __version__

    parser = _Parser(
        prog="fastmlp",
        description="Train multilayer perceptrons on the CPU, and compare optimizers on them.",
        epilog=EXIT_STATUSES + "\nfastmlp COMMAND --help explains a command.",
    )
    parser.add_argument("--version", action="version", version=f"fastmlp {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    compare.add_parser(commands)
    train.add_parser(commands)
    predict.add_parser(commands)
    evaluate.add_parser(commands)
    warmup.add_parser(commands)
    info.add_parser(commands)
    return parser
