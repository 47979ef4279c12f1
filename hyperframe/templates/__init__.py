"""Texts that `hyperframe new-plugin` begins a package from; words in capitals stand for what it is given."""
