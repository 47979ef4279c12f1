"""Diversity terms that ship."""
