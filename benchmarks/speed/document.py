"""The whole document, as a function of the results."""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.results import Row
from benchmarks.speed import table
from benchmarks.speed.markup import escape
from benchmarks.speed.table import Cell

LEGEND = """\
Times are in forward passes (no gradient) of the same model and batch: medians over rounds with
quartiles in brackets. In each round every method runs once, in turns, in one process, between two
forward passes whose mean is its unit. *Over budget* was predicted or found to take longer than the
budget for one call; *raises* names the error, in full at the end. Random networks have calibrated
batch-norm and biases that are not zero; EfficientNet-Lite0 has its ImageNet weights and sees
photographs. The predicted classes are explained, in float32 without TF32.

BBp's times are those of `explain`, which records, propagates and certifies. Captum's IG makes 50
steps and SmoothGrad-50 is Captum's NoiseTunnel over Saliency with 50 copies; both go through the
network with as many numbers at a time as 16 pictures of 224 x 224 have (or the batch, if that is
more). DeepLift compares with zeros. Zennit's EpsilonPlus sets up its canonizer in each call."""

ON_A_PROCESSOR = """\
Rows run as the commands do (`biasmatters.polite`), unless a note at the head says otherwise: idle
threads sleep after some microseconds, torch asks for large pages of memory, and glibc keeps what is
freed. BBp uses numba's kernels."""

ON_A_GPU = """\
Where batches are small a GPU waits for Python, which looks at one operation after the other. BBp's
softmax rules write out every connection, in kernels by Triton; all else goes by torch's operations.
The figures to reach are asked of two cores of a processor, and stand here for comparison."""

MEMORY = """\
Peak memory above what was held before, as a multiple of that of forward + backward to the input,
each in a process of its own (high-water mark of the process; the allocator's on a GPU). Where
forward + backward itself takes less than 32 MiB, the figure is in MiB: what libraries hold for
themselves is then no longer small beside it."""

FLOOR = """\
The floor in forward passes, and in brackets the share of the measured time that it is: a forward
and a backward pass, the multiplications of every expansion at the rate of this network's own
forward pass, an exponential (in cache; on a GPU by its units for them) for each connection that
goes directly, and each layer's numbers moved once (`floor.py` has the formula). It leaves out
recording, preparing the terms of an expansion, gathering windows, residual sums, pools,
element-wise layers, the certificate and Python; in the softmax rules, connections to inputs that
are zero and from units without bias cost nothing in it. So 100 % cannot be expected, and small
networks, where Python counts, come far below."""

SCALING = """\
Least squares on log-log axes with the standard error: convolutions of 3 x 3 with ReLUs, no pools;
all sizes of an axis were timed in turns in one process, in 15 rounds or as many as the budget
allows."""

BY_NETWORK = """\
The same of batch for the networks above, from 1 to the size in brackets. What is below 1 is time
that does not depend on the number of pictures; a forward pass has it as well."""


def render(
    rows: Sequence[Row], scaling: Sequence[Row], facts: Sequence[tuple[str, str]], plot: str
) -> str:
    """The whole document.

    Args:
        rows: Of ``speed.csv``.
        scaling: Of ``scaling.csv``.
        facts: Versions, processor, date, command and device, by name.
        plot: File name of the plot, or nothing.
    """
    lines = ["# Speed", "", *(f"- {name}: {value}" for name, value in facts), ""]
    if plot:
        lines += [f"![Time of each method in forward passes, by model]({plot})", ""]
    lines += ["## Figures to reach", "", *table.goal_lines(rows, scaling)]
    on_a_gpu = any(row["device"] not in ("", "cpu") for row in rows)
    where = ON_A_GPU if on_a_gpu else ON_A_PROCESSOR
    lines += ["## Time", "", LEGEND, "", where, "", *_batches(rows, table.time_cell)]
    lines += ["A forward pass takes", "", *table.forward_lines(rows)]
    if any(row["memory_mib"] for row in rows):
        lines += ["## Peak memory", "", MEMORY, "", *_batches(rows, table.memory_cell)]
    if any(row["floor"] for row in rows):
        lines += ["## Floor", "", FLOOR, "", *_batches(rows, table.floor_cell)]
    if scaling:
        lines += ["## Scaling", "", SCALING, "", *table.scaling_lines(scaling)]
        if failed := _failures(scaling):
            lines += [*(f"- {escape(text)}" for text in failed), ""]
        by_network = table.batch_exponents(rows)
        lines += [BY_NETWORK, "", *by_network] if by_network else []
    failures = table.failure_lines(rows)
    if failures:
        lines += ["## Without a time", "", *failures]
    return "\n".join(lines).rstrip() + "\n"


def _batches(rows: Sequence[Row], cell: Cell) -> list[str]:
    """One table for each batch size."""
    lines = []
    for batch in sorted({int(row["batch"]) for row in rows}):
        chosen = [row for row in rows if row["batch"] == str(batch)]
        lines += [f"Batch {batch}:", "", *table.batch_table(chosen, cell)]
    return lines


def _failures(scaling: Sequence[Row]) -> list[str]:
    return [
        f"{row['axis']} {row['size']}, {row['method']}: {row['failure']}"
        for row in scaling
        if row["failure"]
    ]
