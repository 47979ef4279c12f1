"""The objectives that ship with hyperframe."""
