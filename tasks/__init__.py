"""The work of the entry scripts, after their options are read. Uses all other packages."""
