"""Public facts about items as numbers: hashed text and labels, a text model, given vectors."""
