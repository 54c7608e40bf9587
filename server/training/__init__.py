"""Training a federation: what the operator asks for, the job made of it, and who drives it."""
