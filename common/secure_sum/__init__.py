"""Secure sums: the server learns a total and no summand (Bonawitz et al. 2017, hardened)."""
