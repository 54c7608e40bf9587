"""How models are fitted in rounds; client half and server half side by side."""
