import io
import json

from common.privacy.deferred import DeferredSum
from simulations.benchmarks import local_round
from simulations.benchmarks.local_round import main, measure
from simulations.benchmarks.step_load import Load

SMALL = {"items": 60, "users": 3, "events": 4, "shared": 5, "dim": 4}


def test_one_object_with_both_ways_and_their_ratio():
    out = io.StringIO()
    sizes = [f"--{name}={size}" for name, size in SMALL.items()]
    main([*sizes, "--steps=2"], out)
    found = json.loads(out.getvalue())["items"]["60"]
    for kind in ("seconds", "processor_seconds"):
        ratio = found["eager"][kind] / found["deferred"][kind]
        assert found[f"eager_over_deferred_{kind}"] == ratio
    assert found["deferred"]["peak_mb"] > 0


def test_each_way_is_what_it_is_called(monkeypatch):
    settled = []
    sound = DeferredSum.settle
    monkeypatch.setattr(DeferredSum, "settle", lambda self: (settled.append(1), sound(self))[1])
    monkeypatch.setattr(local_round.torch, "set_num_threads", lambda _: None)
    measure(Load(**SMALL), 2, "eager")
    assert not settled
    measure(Load(**SMALL), 2, "deferred")
    assert settled == [1]
