"""Rules of products of activations.

- `contractions`: products that are summed over an axis which both have
- `attention`: attention, batches of matrix products, sums of products by letters
"""
