"""A client joins: its folder with keys of its own, its card, and the peers that it pins."""
