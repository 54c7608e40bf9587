"""A federation of real processes on one machine: data, start, faults, and what must hold."""
