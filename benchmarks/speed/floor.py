"""The time that no program for a rule could do without, from flops and bytes.

    floor = 2 F + M F / C + E t_exp + B t_byte

with F the measured forward pass (the gradient makes its multiplications once more), C its
multiplications and so F / C the time of one at the rate that this very network reaches, and

- M = sum over layers of 2 r c: an expansion of rank r makes 2 r convolutions over the c connections
  it covers. `proportional` has r = 1 and c = C; `uniform` none, for to count or to sum the inputs
  of a window is no convolution where no weight is zero.
- E = sum over layers of the connections that go directly, at the price t_exp of a product, an
  exponential in place and a multiply-add on numbers that stay in the cache, and on a GPU of an
  exponential by its own units. A rule that says nothing of its forms is taken to write every
  connection out.
- B = 4 bytes for each number of every layer's input, weights and units' bias, read once, and of
  its shares, written once, at the speed t_byte of a long copy.

Left out: recording, preparing the terms of an expansion, gathering windows, residual sums, pools
and element-wise layers, the ledger and the certificate, Python itself. Connections to inputs that
are zero and from units without bias are counted in C but not in c, where the rule counts what it
covered, so for sparse inputs the floor is lower than dense convolutions can reach.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from benchmarks.load import Load
from benchmarks.speed.rates import Rates
from biasmatters.types import LayerCost

# Products for each connection of the rules that have one form only.
LINEAR = {"proportional": 2, "uniform": 0}
BYTES = 4


@dataclass(frozen=True)
class Demand:
    """What a rule has to do on a batch.

    Attributes:
        products: M.
        exponentials: E.
    """

    products: int
    exponentials: int


def demand(rule: str, profile: Iterable[LayerCost], connections: int) -> Demand:
    """M and E of a rule.

    Args:
        rule: Its name.
        profile: From ``BiasBackprop.explain(..., profile=True)``.
        connections: C of the whole batch.
    """
    if rule in LINEAR:
        return Demand(LINEAR[rule] * connections, 0)
    products = exponentials = 0
    for layer in profile:
        for form, covered in layer.connections.items():
            if form == "expansion":
                products += 2 * layer.rank * covered
            else:
                exponentials += covered
    if not products and not exponentials:
        exponentials = connections
    return Demand(products, exponentials)


def floor_seconds(work: Demand, load: Load, batch: int, forward: float, rates: Rates) -> float:
    """The formula above.

    Args:
        work: M and E.
        load: Of one sample's forward pass.
        batch: Samples.
        forward: F in seconds.
        rates: Of the machine.
    """
    product = forward / max(load.connections * batch, 1)
    numbers = (2 * load.inputs + load.outputs) * batch + load.weights
    return (
        2 * forward
        + work.products * product
        + work.exponentials * rates.exponential
        + numbers * BYTES * rates.byte
    )
