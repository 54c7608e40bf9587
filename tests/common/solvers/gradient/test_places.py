"""Which place of a chunk a user has moves no bit, at widths that fill no register either."""

import subprocess
import sys

import pytest

SCRIPT = """
import sys
import numpy as np
from common.models.neural import NeuralModelSettings
from common.models.sequential import SequentialModelSettings
from common.solvers.gradient.examples import Batch, Draw, rivals
from common.solvers.gradient.gradients import Gradients

ITEMS, USERS, OWN = 900, 40, 61
rng = np.random.default_rng(0)
if sys.argv[1] != "sequential":
    pooling = sys.argv[1].removeprefix("neural, ")
    settings = NeuralModelSettings(embedding_dim=50, head=5, personal_steps=1, pooling=pooling)
    network = settings.network
else:
    settings = SequentialModelSettings(embedding_dim=30, heads=3, length=OWN - 1, blocks=1)
    network = settings.loss
dense = settings.packing.pack(network.initial(rng))
dense = dense + rng.normal(0, 0.1, dense.shape)
table = rng.normal(0, 0.3, (ITEMS, settings.embedding_dim))
own = np.stack([rng.permutation(ITEMS)[:OWN] for _ in range(USERS)])
shared = np.sort(rng.choice(ITEMS, 133, replace=False))
example = rivals(own, Draw(shared, 0.0, rng.normal(size=ITEMS)))
example["known"] = rng.random(own.shape) < 0.7
example["wanted"] = ~example["known"]
made = Gradients(network, table, dense, settings.packing, train_items=True)

def of(users):
    part = Batch(own[users], {name: values[users] for name, values in example.items()})
    found = {}
    for batch in made.of_each(users, part, shared):
        values = zip(batch.own_values, batch.shared_values, batch.dense_values, strict=True)
        found |= {int(u): [v.tobytes() for v in of] for u, of in zip(batch.users, values)}
    return found

whole = of(np.arange(USERS))
for first in (1, 2, 5):
    less = of(np.arange(first, USERS))
    assert less == {user: whole[user] for user in less}, first
"""


@pytest.mark.parametrize("network", ["neural, mean", "neural, ridge", "sequential"])
def test_a_place_in_a_chunk_moves_no_bit_at_odd_widths(network: str) -> None:
    """In a process of its own: MKL reads at its first call how it is to round."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, network], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
