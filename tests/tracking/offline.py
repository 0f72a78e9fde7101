"""Reads an offline run's .wandb file: a LevelDB log of protocol buffers."""

import struct
from collections.abc import Iterator
from pathlib import Path

from wandb.proto import wandb_internal_pb2

BLOCK = 32768
HEADER = 7
FULL, FIRST, LAST = 1, 2, 4


def chunks(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The log's physical records: kind and content."""
    magic, number, _ = struct.unpack("<4sHB", data[:HEADER])
    if magic != b":W&B" or number != 0xBEE1:
        raise ValueError("no W&B log")
    place = HEADER
    while place + HEADER <= len(data):
        left = BLOCK - place % BLOCK
        if left < HEADER:
            place += left
            continue
        _, length, kind = struct.unpack("<IHB", data[place : place + HEADER])
        if kind == 0:
            place += left
            continue
        yield kind, data[place + HEADER : place + HEADER + length]
        place += HEADER + length


def records(path: Path) -> Iterator[wandb_internal_pb2.Record]:
    """The logical records."""
    parts: list[bytes] = []
    for kind, content in chunks(path.read_bytes()):
        if kind in (FULL, FIRST):
            parts = []
        parts.append(content)
        if kind in (FULL, LAST):
            record = wandb_internal_pb2.Record()
            record.ParseFromString(b"".join(parts))
            yield record
