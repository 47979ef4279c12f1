"""Tasks: data, loss and metrics that ship."""
