"""The guide of the service is held to its interface, and its example runs."""

import re
from pathlib import Path

from client.service.recording import record_events
from client.service.servicer import status_of
from client.service.v1 import recommender_pb2 as pb
from common.errors import Code
from tests.client.service.shop import deliver, make_shop, serving

ROOT = Path(__file__).resolve().parents[3]
GUIDE = (ROOT / "docs" / "guide" / "service.md").read_text(encoding="utf-8")


def test_every_method_has_a_section_with_every_field():
    service = pb.DESCRIPTOR.services_by_name["Recommender"]
    sections = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", GUIDE, re.M | re.S))
    assert set(sections) == {method.name for method in service.methods}
    for method in service.methods:
        for message in (method.input_type, method.output_type):
            missing = {f.name for f in message.fields if f"`{f.name}`" not in sections[method.name]}
            assert not missing, method.name


def test_every_field_and_every_name_of_an_enumeration_is_in_the_guide():
    for message in pb.DESCRIPTOR.message_types_by_name.values():
        assert not {field.name for field in message.fields if f"`{field.name}`" not in GUIDE}
    for names in pb.DESCRIPTOR.enum_types_by_name.values():
        used = {value.name for value in names.values if value.number}
        assert not {name for name in used if f"`{name}`" not in GUIDE}


def test_every_reason_is_in_the_guide_and_in_the_interface():
    source = Path(record_events.__code__.co_filename).read_text()
    reasons = set(re.findall(r'"([a-z0-9]+(?:-[a-z0-9]+)+|missing|conflict)"', source))
    assert {"missing", "unknown-item", "in-the-future", "conflict"} <= reasons
    proto = (ROOT / "client/service/v1/recommender.proto").read_text()
    for reason in reasons:
        assert f"`{reason}`" in GUIDE, reason
        assert f"`{reason}`" in proto, reason


def test_the_statuses_are_those_of_the_table():
    rows = re.findall(r"^\| `([A-Z_]+)` \| (.*?) \|", GUIDE, re.M)
    for status, cell in rows:
        for code in re.findall(r"\[`([a-z-]+)`\]", cell):
            assert status_of(Code(code)).name == status


def test_the_example_runs(tmp_path, capsys):
    (example,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.M | re.S)
    folder = make_shop(tmp_path / "north")
    version = deliver(folder)
    with serving(folder) as (_, caller):
        here = example.replace("127.0.0.1:50051", caller.place)
        exec(compile(here.replace("shops/north", str(folder)), "example", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"{version} True"
    assert len(lines) == 6
