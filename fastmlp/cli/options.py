"""Options that several commands have, and the texts that they take."""

import argparse
from pathlib import Path

# A target of whole numbers with more values than this is taken for a quantity. 26 letters and a
# few more are still classes.
MOST_CLASSES = 32

# Units of the hidden layers.
HIDDEN = "64,32"

EXIT_STATUSES = """\
exit status: 0 done, 1 training diverged, 2 bad input, 130 interrupted by Ctrl-C
"""


def add_hidden(parser, default):
    """`default` may be None, to tell whether the option was given."""
    parser.add_argument(
        "--hidden",
        type=sizes,
        default=default,
        metavar="SIZES",
        help="units of each hidden layer, with commas between; an empty text is no hidden layer "
        f"(default: {HIDDEN})",
    )


def add_run_options(parser):
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="of held-out rows, starting weights and shuffling; the same seed gives the same "
        "result (default: %(default)s)",
    )
    add_threads(parser)
    parser.add_argument(
        "--quiet", "--no-progress", action="store_true", help="show no progress bar"
    )


def add_threads(parser):
    parser.add_argument(
        "--threads",
        type=int,
        metavar="N",
        help="threads at most; the result does not depend on it (default: as many as are worth it)",
    )


def sizes(text):
    if not text.strip():
        return []
    try:
        return [int(size) for size in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be whole numbers with commas between, such as 64,32, got {text!r}"
        ) from None


def levels(text):
    try:
        return tuple(float(level) for level in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be numbers with commas between, such as 0.1,0.5,0.9, got {text!r}"
        ) from None


def out_file(text):
    return Path("/dev/stdout" if text == "-" else text)


def split_outside(text, separator):
    """Split at a separator, but not within parentheses or brackets."""
    depth, parts = 0, [""]
    for character in text:
        depth += (character in "([{") - (character in ")]}")
        if character == separator and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def names(text):
    names = [name.strip() for name in text.split(",")]
    if not all(names):
        raise argparse.ArgumentTypeError(f"must be names with commas between, got {text!r}")
    return names
