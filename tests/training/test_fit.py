"""Training: shuffled by seed and epoch, resumed to the same numbers, honest about Ctrl-C."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from torch.utils.data import TensorDataset

from biasmatters.training import Classifier, EpochSampler, FitPlan, fit
from biasmatters.training.callbacks import CURVES

PLAN = FitPlan(
    seed=3,
    epochs=3,
    batch_size=16,
    eval_batch_size=32,
    label="test",
    workers=0,
    options={"accelerator": "cpu", "devices": 1, "deterministic": "warn"},
)


def samples(n: int, seed: int) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 1, 4, 4, generator=generator)
    return TensorDataset(x, (x.flatten(1).sum(1) > 0).long(), torch.arange(n))


def module() -> Classifier:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2)
        )
    return Classifier(net, lambda p: torch.optim.AdamW(p, lr=0.01), "one_cycle")


def train(folder: Path) -> tuple[dict[str, torch.Tensor], str]:
    trained = module()
    fit(trained, samples(96, 0), samples(32, 1), PLAN, folder)
    return trained.model.state_dict(), (folder / CURVES).read_text()


class Stop(Exception):
    pass


def test_the_sampler_is_a_permutation_of_its_own_for_each_epoch_and_seed() -> None:
    orders = []
    for seed in (0, 1):
        sampler = EpochSampler(50, seed)
        for epoch in range(3):
            sampler.set_epoch(epoch)
            orders.append(tuple(sampler))
    assert all(sorted(order) == list(range(50)) for order in orders)
    assert len(set(orders)) == 6


def test_training_learns_and_leaves_its_curve(tmp_path: Path) -> None:
    _, curve = train(tmp_path)
    lines = [line.split(",") for line in curve.splitlines()]
    assert lines[0] == [
        "epoch",
        "train_loss",
        "train_accuracy",
        "validation_loss",
        "validation_accuracy",
    ]
    assert [line[0] for line in lines[1:]] == ["1", "2", "3"]
    assert float(lines[3][1]) < float(lines[1][1])
    assert sorted(path.name for path in tmp_path.iterdir()) == [CURVES]


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_training_broken_off_ends_with_the_same_numbers(tmp_path: Path, epoch: int) -> None:
    whole = train(tmp_path / "whole" if (tmp_path / "whole").mkdir() is None else tmp_path)
    broken = tmp_path / "broken"
    broken.mkdir()

    class Breaks(Classifier):
        def training_step(self, batch, batch_idx):
            if self.current_epoch == epoch and batch_idx == 2:
                raise Stop
            return super().training_step(batch, batch_idx)

    first = module()
    first.__class__ = Breaks
    with pytest.raises(Stop):
        fit(first, samples(96, 0), samples(32, 1), PLAN, broken)
    assert (broken / "checkpoints" / "last.ckpt").exists()
    torch.manual_seed(99)
    state, curve = train(broken)
    assert curve == whole[1]
    assert all(torch.equal(state[name], whole[0][name]) for name in state)


def test_a_damaged_checkpoint_means_training_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b" / "checkpoints").mkdir(parents=True)
    (tmp_path / "b" / "checkpoints" / "last.ckpt").write_bytes(b"no checkpoint")
    assert train(tmp_path / "a")[1] == train(tmp_path / "b")[1]


def test_a_checkpoint_that_would_run_code_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self):
            return (os.mkdir, (str(tmp_path / "owned"),))

    (tmp_path / "checkpoints").mkdir()
    torch.save({"epoch": 0, "evil": Evil()}, tmp_path / "checkpoints" / "last.ckpt")
    train(tmp_path)
    assert not (tmp_path / "owned").exists()


def test_ctrl_c_stays_a_keyboard_interrupt(tmp_path: Path) -> None:
    class Interrupted(Classifier):
        def training_step(self, batch, batch_idx):
            raise KeyboardInterrupt

    broken = module()
    broken.__class__ = Interrupted
    before = signal.getsignal(signal.SIGINT)
    try:
        with pytest.raises(KeyboardInterrupt):
            fit(broken, samples(32, 0), samples(32, 1), PLAN, tmp_path)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_empty_validation_set_is_fine(tmp_path: Path) -> None:
    empty = torch.utils.data.Subset(samples(1, 0), [])
    fit(module(), samples(32, 0), empty, PLAN, tmp_path)
    assert len((tmp_path / CURVES).read_text().splitlines()) == 4


SCRIPT = """
import sys, time
from pathlib import Path
from tests.training import test_fit as t

class Slow(t.Classifier):
    def training_step(self, batch, batch_idx):
        time.sleep(0.1)
        return super().training_step(batch, batch_idx)

slow = t.module()
slow.__class__ = Slow
t.fit(slow, t.samples(96, 0), t.samples(32, 1), t.PLAN, Path(sys.argv[1]))
"""


def test_kill_9_in_the_middle_of_training_changes_no_number(tmp_path: Path) -> None:
    for name in ("killed", "whole"):
        (tmp_path / name).mkdir()
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "killed")],
        cwd=Path(__file__).parents[2],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    checkpoint = tmp_path / "killed" / "checkpoints" / "last.ckpt"
    deadline = time.monotonic() + 60
    while not checkpoint.exists() and time.monotonic() < deadline and child.poll() is None:
        time.sleep(0.05)
    time.sleep(0.25)
    assert child.poll() is None, child.stderr.read().decode()
    child.kill()
    child.wait()
    child.stderr.close()
    state, curve = train(tmp_path / "killed")
    expected = train(tmp_path / "whole")
    assert curve == expected[1]
    assert all(torch.equal(state[name], expected[0][name]) for name in state)


def test_the_trainer_leaves_nothing_behind(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "work").mkdir()
    train(tmp_path / "work")
    assert [path.name for path in tmp_path.iterdir()] == ["work"]
    assert pl.__version__
