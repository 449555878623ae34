"""fastmlp's estimators beside scikit-learn's: ``python -m asv_bench.estimators``, from a clone.

Both are fitted to the same rows with the same hyperparameters and the same seeds, and predict the
same rows, which they have not seen. Every fit is in a process of its own, ours and theirs in turn,
after a fit of one epoch that has everything compiled and all threads started.
"""
