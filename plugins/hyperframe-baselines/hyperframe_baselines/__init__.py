"""Generators that others proposed; a module for each, or a package where one has parts of its own.

A module registers its generator by `hyperframe_generators` and is named under the entry points of `pyproject.toml`.
"""
