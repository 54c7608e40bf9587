"""`python -m simulations.results NAME`: one study, its page written to docs/results/."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from simulations.attacks.study import run_attacks
from simulations.results.accuracy import CASES, run_accuracy
from simulations.results.aggregation import run_aggregation
from simulations.results.federation import run_federation
from simulations.results.joining import run_demo, run_regions, run_shops
from simulations.results.membership import run_membership
from simulations.results.networks import NETWORKS
from simulations.results.new_items import run_new_items
from simulations.results.ratings import run_ratings
from simulations.results.reconstruction import run_reconstruction
from simulations.results.secure import run_secure
from simulations.results.sequences import run_sequences

Study = Callable[[Path, Path, Sequence[int], Callable[[str], None]], None]

STUDIES: dict[str, Study] = {
    **{solver: partial(run_accuracy, solver) for solver in CASES},
    **NETWORKS,
    "aggregation": run_aggregation,
    "attacks": run_attacks,
    "demo": run_demo,
    "federation": run_federation,
    "membership": run_membership,
    "new-items": run_new_items,
    "ratings": run_ratings,
    "reconstruction": run_reconstruction,
    "secure": run_secure,
    "sequences": run_sequences,
    "shops": run_shops,
    "retail": run_regions,
}


def main() -> None:
    """Read the arguments and run the study."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("study", choices=sorted(STUDIES))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"), help="data files")
    parser.add_argument("--out", type=Path, default=Path("docs/results"), help="where pages go")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2], help="public seeds")
    given = parser.parse_args()
    STUDIES[given.study](
        given.data,
        given.out,
        given.seeds,
        lambda line: print(line, file=sys.stderr, flush=True),  # noqa: T201
    )


if __name__ == "__main__":
    main()
