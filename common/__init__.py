"""What every room may use: errors, options, files, logs. Imports nothing heavy."""
