"""Estimators on real tables: ``python -m asv_bench.tables``, from a clone.

fastmlp's tabular estimators beside gradient boosting, scikit-learn's and RealMLP, all at their
defaults, on tables as people have them: text, missing values, columns of any scale. Every fit is in
a process of its own, which has fitted a small sample before, so that imports and compilation do not
count.
"""
