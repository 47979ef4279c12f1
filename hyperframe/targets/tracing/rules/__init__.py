"""The rules of tracing: how each operation carries labels on.

- `registry`: tracing: an operation, and the register of rules
- `layouts`: rules: operations that only move entries
- `lookups`: rules: rows of tables that are looked up, as embeddings do
- `elementwise`: rules: functions of each entry, sums and products
- `comparisons`: rules: comparing, choosing, the larger or smaller of several
- `reductions`: rules: pooling, means, maxima, softmax
- `linear`: rules: convolutions and dense layers
- `normalisation`: rules: BatchNorm, LayerNorm, GroupNorm and their kin
- `scale_shift`: rules: learnt factors, offsets and slopes
- `computed_kernels`: rules: kernels that are computed, as by weight_norm, masks and low rank
"""
