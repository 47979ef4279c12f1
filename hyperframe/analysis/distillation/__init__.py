"""One network in place of an ensemble.

- `averaging`: means of generated weights, as drawn or in gauge
- `student`: a student network that is trained on an ensemble's predictions
- `distill`: makes the one network by one of these methods, measures it beside the ensemble, and writes it to a file
"""
