"""Templates of reports, and of packages that `hyperframe new-plugin` begins, with words in capitals to fill in."""
