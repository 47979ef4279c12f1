"""One network in the place of an ensemble.

- `averaging`: means of generated weights, as drawn or in gauge
- `student`: a student that is taught an ensemble's predictions
- `distill`: one network in the place of an ensemble: made, measured, written
"""
