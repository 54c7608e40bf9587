"""What the parts cost, by commands that print it."""
