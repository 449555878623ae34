"""Settings of a test session: every run makes the same examples, and none opens a window."""

import os

from hypothesis import settings

os.environ.setdefault("MPLBACKEND", "Agg")

settings.register_profile(
    "fastmlp", derandomize=True, deadline=None, max_examples=50, database=None
)
settings.load_profile("fastmlp")
