"""The policy's form: read from TOML, strict, and only if its filters admit something."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.config import Settings
from common.errors import Code, ConfigError
from common.privacy.filters import ORDERS, Cap, Cost, GdpFilter, RenyiFilter, best_order
from common.privacy.policy import Period, Policy
from common.privacy.samplers import make_sampler

PAGE = Path(__file__).resolve().parents[3] / "docs" / "guide" / "policy.md"
LEAST: dict[str, Any] = {"lifetime": {"epsilon": 8.0, "delta": 1e-5}}


def toml(value: Any) -> str:
    """TOML of a value; tables are written inline."""
    if isinstance(value, dict):
        pairs = ", ".join(f"{key} = {toml(v)}" for key, v in value.items() if v is not None)
        return f"{{{pairs}}}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    return json.dumps(value)


def written(values: dict[str, Any]) -> str:
    return "".join(f"{key} = {toml(v)}\n" for key, v in values.items() if v is not None)


def load(tmp_path: Path, text: str) -> Policy:
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="utf-8")
    return Policy.load_toml(path)


LIFETIMES = st.builds(
    lambda epsilon, power: Cap(epsilon=epsilon, delta=10.0**power),
    st.floats(0.5, 12),
    st.floats(-9, -3),
)
POLICIES = LIFETIMES.flatmap(
    lambda cap: st.builds(
        Policy,
        lifetime=st.just(cap),
        periods=st.lists(
            st.builds(Period, days=st.integers(1, 3660), epsilon=st.floats(0.4, cap.epsilon)),
            max_size=2,
        ),
        renyi_order=st.one_of(st.none(), st.just(best_order(Cap(epsilon=0.4, delta=cap.delta)))),
        modes=st.lists(st.sampled_from(["local", "none"]), max_size=2),
        solvers=st.lists(st.text("abc", max_size=5), max_size=3),
        servers=st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=2),
        max_sampling_rate=st.floats(0, 1, exclude_min=True),
        min_population=st.integers(1, 10**9),
        max_shops_per_shopper=st.integers(1, 10_000),
        bundles=st.lists(st.text("0123456789abcdef", min_size=64, max_size=64), max_size=2),
        max_message_bytes=st.integers(1, 1 << 40),
        max_releases=st.integers(1, 10**6),
        serving=st.sampled_from(["joint", "shop"]),
    )
)


@settings(max_examples=50, deadline=None)
@given(POLICIES)
def test_a_policy_comes_back_from_toml_as_it_was(policy: Policy) -> None:
    values = policy.model_dump(mode="json")
    assert Policy.load(tomllib.loads(written(values))) == policy


def test_the_least_that_can_be_said(tmp_path: Path) -> None:
    policy = load(tmp_path, written(LEAST))
    assert policy.lifetime == Cap(epsilon=8.0, delta=1e-5)
    assert policy.periods == ()
    assert policy.modes == ("local",)
    assert policy.servers == ()
    assert policy.filter() == GdpFilter(policy.lifetime)


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"lifetime": None}, Code.CONFIG_INVALID),
        ({"lifetime": {"epsilon": 8.0}}, Code.CONFIG_INVALID),
        ({"epsilon": 8.0}, Code.CONFIG_UNKNOWN_KEY),
        ({"lifetime": {"epsilon": 8.0, "delta": 1e-5, "unit": "user"}}, Code.CONFIG_UNKNOWN_KEY),
        ({"periods": [{"days": 1, "epsilon": 1.0, "delta": 1e-5}]}, Code.CONFIG_UNKNOWN_KEY),
        ({"lifetime": {"epsilon": 0.0, "delta": 1e-5}}, Code.CONFIG_INVALID),
        ({"lifetime": {"epsilon": -1.0, "delta": 1e-5}}, Code.CONFIG_INVALID),
        ({"lifetime": {"epsilon": 8.0, "delta": 0.0}}, Code.CONFIG_INVALID),
        ({"lifetime": {"epsilon": 8.0, "delta": 1.0}}, Code.CONFIG_INVALID),
        ({"periods": [{"days": 0, "epsilon": 1.0}]}, Code.CONFIG_INVALID),
        ({"periods": [{"days": 1, "epsilon": 0.0}]}, Code.CONFIG_INVALID),
        ({"periods": [{"days": 1, "epsilon": 8.1}]}, Code.CONFIG_INVALID),
        ({"unit": "event"}, Code.CONFIG_INVALID),
        ({"renyi_order": 1}, Code.CONFIG_INVALID),
        ({"renyi_order": 2.5}, Code.CONFIG_INVALID),
        ({"renyi_order": ORDERS.stop}, Code.CONFIG_INVALID),
        ({"modes": ["central"]}, Code.CONFIG_INVALID),
        ({"modes": "local"}, Code.CONFIG_INVALID),
        ({"servers": ["ab"]}, Code.CONFIG_INVALID),
        ({"servers": ["AB" * 32]}, Code.CONFIG_INVALID),
        ({"bundles": ["ab"]}, Code.CONFIG_INVALID),
        ({"bundles": "ab" * 32}, Code.CONFIG_INVALID),
        ({"max_sampling_rate": 0.0}, Code.CONFIG_INVALID),
        ({"max_sampling_rate": 1.1}, Code.CONFIG_INVALID),
        ({"min_population": 0}, Code.CONFIG_INVALID),
        ({"max_shops_per_shopper": 0}, Code.CONFIG_INVALID),
        ({"max_message_bytes": 0}, Code.CONFIG_INVALID),
        ({"max_releases": 0}, Code.CONFIG_INVALID),
        ({"serving": "public"}, Code.CONFIG_INVALID),
    ],
)
def test_what_cannot_be_meant_is_refused(
    tmp_path: Path, changes: dict[str, Any], code: Code
) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, written({**LEAST, **changes}))
    assert caught.value.code is code
    assert "policy.toml" in str(caught.value)


@pytest.mark.parametrize("text", ["lifetime = {epsilon = inf, delta = 1e-5}", "lifetime = ["])
def test_infinity_and_what_is_not_toml_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    assert caught.value.code is Code.CONFIG_INVALID


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"renyi_order": 2}, "order 2"),
        ({"renyi_order": 6, "periods": [{"days": 7, "epsilon": 0.5}]}, r"order 6 at ε = 0\.5"),
        ({"lifetime": {"epsilon": 50.0, "delta": 1e-5}}, "GDP filter at ε = 50"),
        ({"lifetime": {"epsilon": 8.0, "delta": 1e-320}}, "admits nothing at all"),
        ({"lifetime": {"epsilon": 1e9, "delta": 1e-5}}, "no noise that makes sense"),
    ],
)
def test_a_policy_under_which_nothing_fits_says_so_when_it_is_read(
    tmp_path: Path, changes: dict[str, Any], reason: str
) -> None:
    with pytest.raises(ConfigError, match=reason) as caught:
        load(tmp_path, written({**LEAST, **changes}))
    assert caught.value.code is Code.CONFIG_INVALID


@settings(max_examples=50, deadline=None)
@given(POLICIES)
def test_every_window_has_a_filter_of_one_kind_and_none_is_wider_than_the_lifetime(
    policy: Policy,
) -> None:
    whole = policy.filter()
    assert whole.cap == policy.lifetime
    for period in policy.periods:
        window = policy.filter(period)
        assert type(window) is type(whole)
        assert isinstance(window, RenyiFilter) == (policy.renyi_order is not None)
        assert window.cap == Cap(epsilon=period.epsilon, delta=policy.lifetime.delta)
        assert window.bound <= whole.bound
        # what a period admits is in the lifetime's reach, divergence by divergence
        assert whole.admits(Cost(window.bound, whole.distance_bound))


# the page


def blocks() -> list[str]:
    return re.findall(r"^```toml\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)


def fields() -> dict[str, Any]:
    """Every key with its default, "required" without one."""
    found: dict[str, Any] = {}
    tables: dict[str, type[Settings]] = {"lifetime": Cap, "periods": Period}
    for name, field in Policy.model_fields.items():
        if name != "lifetime":
            found[name] = json.loads(json.dumps(field.get_default(call_default_factory=True)))
        if name in tables:
            found |= {f"{name}.{key}": "required" for key in tables[name].model_fields}
    return found


def test_the_examples_of_the_guide_are_policies() -> None:
    assert len(blocks()) == 2
    for text in blocks():
        assert text.startswith("# policy.toml\n")
        Policy.load(tomllib.loads(text))


def test_the_long_example_of_the_guide_has_every_key() -> None:
    assert set(tomllib.loads(blocks()[-1])) == set(Policy.model_fields)


def test_the_table_of_the_guide_has_every_key_with_its_default() -> None:
    rows = re.findall(r"^\| `([\w.]+)` \| (.*?) \|", PAGE.read_text(encoding="utf-8"), re.M)
    shown = {
        name: "required" if default == "required" else json.loads(default.strip("`"))
        for name, default in rows
    }
    assert shown == fields()


def test_the_codes_of_the_guide_exist() -> None:
    text = PAGE.read_text(encoding="utf-8")
    named = set(re.findall(r"`((?:policy|budget)-[a-z]+)`", text))
    assert named == {str(code) for code in Code if str(code).startswith(("policy-", "budget-"))}


def test_the_table_of_several_plans_is_computed_right() -> None:
    rows = re.findall(r"^\| ([\d.]+) \|((?: [\d.]+ \|){5})$", PAGE.read_text("utf-8"), re.M)
    assert len(rows) == 3
    for epsilon, cells in rows:
        chosen = GdpFilter(Cap(epsilon=float(epsilon), delta=1e-5))
        for plans, cell in zip((1, 2, 4, 10, 20), cells.split("|"), strict=False):
            needed = chosen.epsilon(Cost(chosen.bound).times(plans))
            assert needed - 1e-6 <= float(cell) < needed + 0.01


def test_the_largest_caps_that_mean_something_are_as_the_guide_says() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert "At ε = 12 and δ = 1e-6 that is enough for some 385 sums over 59,296 numbers." in text
    distance = make_sampler("exact", 2**26).total_variation(59_296)
    twelve, twenty = (GdpFilter(Cap(epsilon=e, delta=1e-6)) for e in (12.0, 20.0))
    assert int(twelve.distance_bound / distance) == 385
    assert "At ε = 20 it is not enough for one" in text
    assert twenty.distance_bound < distance
