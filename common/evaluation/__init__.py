"""Evaluation: protocols, metrics to the denominator, controls, private evaluation."""
