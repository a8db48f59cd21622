"""What the entry scripts do once their options are read: they join the other rooms."""
