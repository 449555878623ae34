"""fastmlp warmup: kernels compiled ahead."""

from fastmlp.cli.console import DONE
from fastmlp.cli.options import EXIT_STATUSES


def add_parser(commands):
    parser = commands.add_parser(
        "warmup",
        help="compile the kernels before they are needed",
        description="""\
Compile the kernels that training and prediction use and keep them in the cache, so that no later
process has to: in the build of a container image, for instance. Set FASTMLP_CACHE_DIR, there and
where fastmlp runs, to name the folder.""",
        epilog="example:\n  fastmlp warmup --dtype both\n\n" + EXIT_STATUSES,
    )
    parser.set_defaults(run=_warmup)
    parser.add_argument(
        "--dtype",
        choices=("float32", "float64", "both"),
        default="float32",
        help="of the networks to come (default: %(default)s)",
    )


def _warmup(arguments):
    from fastmlp.warming import warmup

    both = arguments.dtype == "both"
    folder = warmup(("float32", "float64") if both else (arguments.dtype,))
    if folder is None:
        raise OSError("FASTMLP_CACHE_DIR must name a folder that can be written to keep kernels in")
    print(f"kernels: {folder}")
    return DONE
