"""The generators of weights that ship with hyperframe."""
