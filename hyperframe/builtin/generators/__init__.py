"""Generators of weights that ship."""
