"""Plan, mechanisms, accounting and ledger rows: how every promise is kept."""
