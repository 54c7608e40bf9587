"""Runs at a merchant: its data, its guard, its training."""
