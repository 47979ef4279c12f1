"""Objectives that ship."""
