"""The tasks that ship with hyperframe: data with a loss and metrics."""
