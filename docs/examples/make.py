"""Run the examples, and put what they print and draw into their pages.

    python docs/examples/make.py [NAME ...]

Of a page NAME.md the first block of ```text is what examples/NAME.py prints, and its figures are
NAME*.png beside it; the rest is written by hand.
"""

import re
import subprocess
import sys
from pathlib import Path

PAGES = Path(__file__).parent
EXAMPLES = PAGES.parents[1] / "examples"


def make(name):
    figure = PAGES / f"{name}.png"
    command = [sys.executable, EXAMPLES / f"{name}.py", "--figure", figure]
    run = subprocess.run(
        command, cwd=EXAMPLES.parent, stdout=subprocess.PIPE, text=True, check=True
    )
    page = PAGES / f"{name}.md"
    page.write_text(with_output(page.read_text(encoding="utf-8"), run.stdout), encoding="utf-8")


def with_output(page, output):
    """The page with another output."""
    lines = [line.rstrip() for line in output.rstrip().splitlines()]
    block = "\n".join(["```text", *lines, "```"])
    return re.sub(r"^```text$.*?^```$", lambda _: block, page, count=1, flags=re.M | re.S)


if __name__ == "__main__":
    for name in sys.argv[1:] or sorted(path.stem for path in EXAMPLES.glob("*.py")):
        print(name)
        make(name)
