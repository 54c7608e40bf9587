"""The audit: what anybody who is shown a ledger can check without trusting its owner."""
