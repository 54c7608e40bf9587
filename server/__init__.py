"""Runs at the operator: rounds, aggregation, the registry of models."""
