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
        assert "tf32" not in newer(), newer()
        with full_products(torch.device("cuda")):
            pass
        assert "tf32" not in newer(), newer()
        raise ValueError
except ValueError:
    pass
assert (older(), newer()) == before, (before, older(), newer())
with full_products(torch.device("cpu")):
    assert (older(), newer()) == before
"""

# What rules over others does so afterwards as it did before.
FOLLOWED = {
    "newer": ("b.fp32_precision = 'tf32'", "b.fp32_precision = 'ieee'"),
    "of one library": ("b.cudnn.fp32_precision = 'tf32'", "b.cudnn.fp32_precision = 'ieee'"),
    "nothing": ("", "b.cudnn.fp32_precision = 'ieee'"),
}
FOLLOWS = """
import torch
from biasmatters.products import full_products

b = torch.backends
everything = [b.cuda.matmul, b.cudnn.conv, b.cudnn.rnn, b.mkldnn.matmul, b.mkldnn.conv]

def now():
    return [part.fp32_precision for part in everything]

SET
before = now()
if WITH:
    with full_products(torch.device("cuda")):
        assert not {"tf32"} & set(now()[:3])
    assert now() == before, (before, now())
LATER
print(now())
"""

THREADS = """
import threading
import torch
from biasmatters.products import full_products

torch.backends.fp32_precision = "tf32"
gpu, entered, leave = torch.device("cuda"), threading.Event(), threading.Event()

def other():
    with full_products(gpu):
        entered.set()
        leave.wait()

with full_products(gpu):
    thread = threading.Thread(target=other)
    thread.start()
    entered.wait()
assert torch.backends.cudnn.conv.fp32_precision == "ieee"  # the other is still inside
leave.set()
thread.join()
assert torch.backends.fp32_precision == torch.backends.cudnn.conv.fp32_precision == "tf32"
"""


def run(script: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("name", SETTINGS)
def test_the_switches_come_back(name: str) -> None:
    run(SCRIPT.replace("SET", SETTINGS[name]))


@pytest.mark.parametrize("name", FOLLOWED)
def test_what_followed_another_switch_still_does(name: str) -> None:
    first, later = FOLLOWED[name]
    outputs = []
    for held in ("True", "False"):
        script = FOLLOWS.replace("SET", first).replace("LATER", later).replace("WITH", held)
        outputs.append(run(script))
    assert outputs[0] == outputs[1]


def test_while_one_thread_is_inside_nothing_is_rounded() -> None:
    run(THREADS)
