"""Damaged copies of a valid file, the same on every run: bytes flip, parts vanish, values become others."""

import json
import random
import struct
from typing import Any

# What breaks readers: nothing, ends of ranges, other types, and the syntax of the formats.
BYTES = (
    b"",
    b"\0",
    b"\xff\xfe",
    b"\n",
    b'"',
    b"[" * 200,
    b"{",
    b"%",
    b"!!int x",
    b"&a ",
    b"*a",
    b"9" * 400,
)
VALUES = (
    None,
    True,
    -1,
    0,
    2**31,
    2**70,
    -1.5,
    1e308,
    "",
    "x",
    "\0",
    "../../etc/passwd",
    "9" * 3000,
    "名字",
    [],
    {},
    [[]],
    [None],
    {"a": {}},
    {"": 0},
)


def mutated_bytes(data: bytes, rng: random.Random) -> bytes:
    """One to three faults anywhere in a file."""
    for _ in range(rng.randint(1, 3)):
        place, length = rng.randrange(len(data) + 1), rng.choice((1, 2, 8, 64))
        fault = rng.choice(("flip", "flip", "cut", "drop", "repeat", "splice", "insert"))
        if fault == "flip" and place < len(data):
            data = data[:place] + bytes([data[place] ^ 1 << rng.randrange(8)]) + data[place + 1 :]
        elif fault == "cut":
            data = data[:place]
        elif fault == "drop":
            data = data[:place] + data[place + length :]
        elif fault == "repeat":
            data = data[:place] + data[place : place + length] * rng.randint(2, 5) + data[place + length :]
        elif fault == "splice":
            other = rng.randrange(len(data) + 1)
            data = data[:place] + data[other : other + length] + data[place + length :]
        else:
            data = data[:place] + rng.choice(BYTES) + data[place:]
    return data


def mutated_tree(tree: Any, rng: random.Random) -> Any:
    """One to three values of a tree of dictionaries and lists become something else, vanish or change places."""
    for _ in range(rng.randint(1, 3)):
        tree = _mutated(tree, rng)
    return tree


def _mutated(tree: Any, rng: random.Random) -> Any:
    deeper = isinstance(tree, (dict, list)) and tree and rng.random() < 0.85
    if not deeper:
        return rng.choice(VALUES)
    copy = type(tree)(tree)
    key = rng.choice(list(copy)) if isinstance(copy, dict) else rng.randrange(len(copy))
    fault = rng.random()
    if fault < 0.1:
        del copy[key]
    elif fault < 0.2 and isinstance(copy, dict):
        copy[rng.choice(("x", "", "a.b", "名字"))] = copy.pop(key)
    elif fault < 0.3:
        copy[key] = rng.choice(list(copy.values()) if isinstance(copy, dict) else copy)
    else:
        copy[key] = _mutated(copy[key], rng)
    return copy


def split_safetensors(data: bytes) -> tuple[dict[str, Any], bytes]:
    """Header and numbers of a safetensors file."""
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + length]), data[8 + length :]


def join_safetensors(header: Any, numbers: bytes) -> bytes:
    text = json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + numbers
