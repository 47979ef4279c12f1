"""Entropy estimators that ship."""
