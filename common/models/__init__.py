"""Models: what is shared, what is personal, how a shopper is scored and folded in."""
