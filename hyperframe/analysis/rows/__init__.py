"""Results as labels and texts, for tables and pages.

- `evaluation`: an evaluation's metrics
- `comparison`: a comparison of runs
"""
