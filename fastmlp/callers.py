"""Warnings about the line that called fastmlp."""

import sys
import warnings
from types import FrameType


def warn(text: str) -> None:
    """Warn about the line that called fastmlp, however many functions of it are in between."""
    level = 1
    frame: FrameType | None = sys._getframe()
    while frame is not None and frame.f_globals["__name__"].partition(".")[0] == "fastmlp":
        level += 1
        frame = frame.f_back
    warnings.warn(text, stacklevel=level)
