"""Gauges that ship."""
