"""Products are not rounded while a model is explained, and the caller's switches come back."""

from __future__ import annotations

import subprocess
import sys

import pytest

SETTINGS = {
    "nothing": "",
    "older, on": "b.cuda.matmul.allow_tf32 = b.cudnn.allow_tf32 = True",
    "older, off": "b.cuda.matmul.allow_tf32 = b.cudnn.allow_tf32 = False",
    "medium": "torch.set_float32_matmul_precision('medium')",
    "newer": "b.fp32_precision = 'tf32'",
    "newer, one": "b.cudnn.conv.fp32_precision = 'ieee'",
}

SCRIPT = """
import torch
from biasmatters.products import full_products

b = torch.backends

def newer():
    return [p.fp32_precision for p in (b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn)]

def older():
    found = []
    for read in (
        lambda: b.cuda.matmul.allow_tf32,
        lambda: b.cudnn.allow_tf32,
        torch.get_float32_matmul_precision,
    ):
        try:
            found.append(read())
        except RuntimeError:  # older and newer switches were mixed
            found.append(None)
    return found

SET
before = older(), newer()
try:
    with full_products(torch.device("cuda")):
        assert newer() == ["ieee"] * 3, newer()
        assert not any(older()[:2]), older()
        with full_products(torch.device("cuda")):
            pass
        assert newer() == ["ieee"] * 3, newer()
        raise ValueError
except ValueError:
    pass
assert (older(), newer()) == before, (before, older(), newer())
with full_products(torch.device("cpu")):
    assert (older(), newer()) == before
"""


@pytest.mark.parametrize("name", SETTINGS)
def test_the_switches_come_back(name: str) -> None:
    script = SCRIPT.replace("SET", SETTINGS[name])
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
