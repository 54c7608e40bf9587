"""The whole audit of a run: ledgers, ε, manifests, attacks; its report and its statements."""
