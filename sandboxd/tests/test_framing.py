import json
import random

import pytest

from ergon_sandboxd.errors import SandboxError
from ergon_sandboxd.framing import MAX_LINE_BYTES, FrameReader, encode, parse_object


def test_frames_survive_any_cut() -> None:
    wire = encode({"type": "data"}, b"a\nb") + encode({"type": "start"}) + encode({"type": "data"}, b"x" * 1000)
    for seed in range(50):
        rng, reader, found, rest = random.Random(seed), FrameReader(), [], wire
        while rest:
            size = rng.randint(1, 40)
            reader.feed(rest[:size])
            rest = rest[size:]
            while (frame := reader.next()) is not None:
                found.append((frame.message["type"], frame.payload))
        assert found == [("data", b"a\nb"), ("start", b""), ("data", b"x" * 1000)]


@pytest.mark.parametrize(
    "wire",
    [
        b"x" * MAX_LINE_BYTES,
        b"[]\n",
        b"nonsense\n",
        b'{"a":1,"a":2}\n',
        b'{"a":NaN}\n',
        b'{"a":' + b"9" * 5000 + b"}\n",
        b'{"a":"\xff"}\n',
        b'{"a":' + b"[" * 20000 + b"\n",
        b'{"bytes":-1}\n',
        b'{"bytes":262145}\n',
        b'{"bytes":true}\n',
        b'{"bytes":"1"}\n',
        b"\n",
    ],
)
def test_anything_else_is_a_protocol_error(wire: bytes) -> None:
    reader = FrameReader()
    reader.feed(wire)
    with pytest.raises(SandboxError) as caught:
        reader.next()
    assert caught.value.code == "PROTOCOL"


def test_the_longest_line_passes() -> None:
    filler = "x" * (MAX_LINE_BYTES - len('{"a":""}\n'))
    reader = FrameReader()
    reader.feed(json.dumps({"a": filler}, separators=(",", ":")).encode() + b"\n")
    frame = reader.next()
    assert frame is not None and frame.message == {"a": filler}


def test_encode_refuses_what_a_reader_would() -> None:
    with pytest.raises(ValueError):
        encode({"a": "x" * MAX_LINE_BYTES})


def test_deep_json_is_refused_and_not_a_crash() -> None:
    with pytest.raises(ValueError):
        parse_object(b"[" * 30000)
