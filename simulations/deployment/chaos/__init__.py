"""Trainings that are disturbed at random moments, and what must hold after each of them."""
