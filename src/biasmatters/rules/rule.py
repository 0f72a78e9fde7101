"""What a rule is: how one unit's bias is split over the unit's inputs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from torch import Tensor

from biasmatters.affine.bent import Bent
from biasmatters.affine.mixing import Lost, Mixing
from biasmatters.types import BiasmattersError


class RuleError(BiasmattersError):
    """A rule was given a parameter that means nothing."""


class Rule(Protocol):
    """Splits tau by ``alpha[p, q] >= 0`` with ``sum_q alpha[p, q] = 1``.

    ``e[p, q] = scale[p] M[p, q] x[q]`` is input q's contribution to unit p.
    """

    @property
    def name(self) -> str:
        """The rule's name in tables and configuration."""
        ...

    def split(
        self, mixing: Mixing, x: Tensor, tau: Tensor, scale: Tensor | None
    ) -> tuple[Tensor, Tensor | Lost]:
        """Split the bias of every unit over its inputs.

        The tensors come in any order of memory (``reshape`` them, do not ``view``), and are not to
        be written to; those that are returned may show one number in many places. On a GPU a layer
        may be split again, so nothing but what is returned should depend on how often.

        Args:
            mixing: The linear map M.
            x: Its input.
            tau: Bias of each unit, like the map's output, in units of the explained output.
            scale: Slope of what follows the map, folded into it; like tau, or None for 1. Units
                that pass nothing on have the slope 0, or whatever slope and the tau 0.

        Returns:
            The inputs' bias ``sum_p alpha[p, q] tau[p]``, like x, and a mask like tau:
            0 where every ``e[p, :]`` is 0, so that nothing was handed out, 1 elsewhere; or the
            tau of such units itself.
        """
        ...

    def alpha(self, e: Tensor, present: Tensor, tau: Tensor, dim: int) -> Tensor:
        """The rule itself, connection by connection.

        Args:
            e: Contributions, with the inputs of one unit along ``dim``.
            present: Like e: True where the connection exists and carries something, e != 0.
            tau: Bias of each unit, broadcastable to e.
            dim: The axis that sums to 1.
        """
        ...


@runtime_checkable
class SplitsBranches(Protocol):
    """A rule that splits bias over two tensors which meet unit by unit, without a map."""

    def split_branches(
        self, values: tuple[Tensor, Tensor], factors: tuple[float, float], tau: Tensor
    ) -> tuple[tuple[Tensor, Tensor], Tensor | None]:
        """Split the bias of ``factors[0] values[0] + factors[1] values[1]``.

        Args:
            values: For `biasmatters.kernels`, each like tau.
            factors: By which they are multiplied, each of them a number.
            tau: Bias of each unit.

        Returns:
            What the two get, and the tau that neither takes because both are 0, None for none.
        """
        ...


@runtime_checkable
class SplitsBent(Protocol):
    """A rule that splits bias above a bend before what goes on below it is written down.

    It is asked only where no slope is 0 and the fallback is ``uniform``, which it sees to as well.
    """

    def split_bent(
        self, mixing: Mixing, x: Tensor, bent: Bent
    ) -> tuple[Tensor, Tensor | None, Tensor | None] | None:
        """Split the bias of every unit over its inputs.

        Args:
            mixing: As in `Rule.split`.
            x: Likewise.
            bent: The bias of each unit above the bend.

        Returns:
            The inputs' bias, like x, which may be written to; the size of what took the fallback,
            ``(N,)``; and the sum of the bias of units without any input at all, likewise; None for
            nothing. None in place of all where the bias has to be written down first.
        """
        ...
