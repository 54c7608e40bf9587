"""Studies whose figures stand in `docs/results/`: `python -m simulations.results NAME`."""
