"""The gauges that ship with hyperframe."""
