"""The diversity terms that ship with hyperframe."""
