"""Configurations written down for people and for editors.

- `commented_yaml`: complete ones, with a comment for every key
- `json_schema`: what a file may hold, as JSON Schema
"""
