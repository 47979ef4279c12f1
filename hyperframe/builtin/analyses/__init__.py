"""The analyses of trained runs that ship with hyperframe."""
