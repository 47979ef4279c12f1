"""Analyses of trained runs that ship."""
