"""What both sides must agree on; imports nobody."""
