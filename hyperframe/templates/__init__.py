"""Texts that packages of `hyperframe new-plugin` begin with, words in capitals to be replaced; the page of a report."""
