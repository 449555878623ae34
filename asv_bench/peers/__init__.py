"""fastmlp beside its peers: ``python -m asv_bench.peers``, from the root of a clone.

Every library does the same work on the same data, each measurement in a process of its own, all
in turn for several rounds; what counts is the fastest of all rounds, and the median of the ratios
in each is told as well. Compilation and the first epoch are left out. A peer that is not installed
is skipped; one that fails or takes too long is reported and left out.
"""
