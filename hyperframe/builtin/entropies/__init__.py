"""The entropy estimators that ship with hyperframe."""
