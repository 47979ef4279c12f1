"""The target networks that ship with hyperframe."""
