"""Fits of milliseconds beside those of peers: ``python -m asv_bench.small``, from a clone.

Each library makes the same fits of the same rows, in a process of its own, all in turn for some
rounds. A figure is the median of many whole fits, from the call to its return, after some that
have everything compiled.
"""
