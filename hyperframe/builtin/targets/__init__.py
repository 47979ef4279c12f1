"""Target networks that ship."""
