"""Secure sums: seconds and memory, beside Flower's own SecAgg+ and beside what is unavoidable."""
