"""Attacks on what clients release: what a promise is worth in practice."""
