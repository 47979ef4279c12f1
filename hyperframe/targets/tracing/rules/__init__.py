"""The rules of tracing: how each operation carries labels on.

- `registry`: an operation, and the register of rules
- `layouts`: operations that only move entries
- `lookups`: rows of tables that are looked up, as embeddings do
- `elementwise`: functions of each entry, sums and products
- `comparisons`: comparing, choosing, the larger or smaller of several
- `reductions`: pooling, means, maxima, softmax
- `linear`: convolutions and dense layers
- `products`: products of activations, as attention makes them
- `normalisation`: BatchNorm, LayerNorm, GroupNorm and their kin
- `scale_shift`: learnt factors, offsets and slopes
- `crossed`: activations whose entries belong to units along two axes
- `computed`: values computed from parameters, labelled axis by axis
- `computed_kernels`: kernels that are computed, as by weight_norm, masks and low rank
"""
