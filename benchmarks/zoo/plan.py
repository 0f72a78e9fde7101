"""What is measured of one model, part by part, each in a process of its own."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from benchmarks.fork import guarded
from benchmarks.zoo.ours import RULES, Figures, affine_figures, rule_figures
from benchmarks.zoo.peers import PEERS, peer_figures
from benchmarks.zoo.subject import Subject, make_subject


@dataclass(frozen=True)
class Plan:
    """What to measure.

    Attributes:
        peers: Whether to run the peers.
        max_connections: Above, ``softmax_neg_abs`` is left out.
        timeout: Seconds for making a model and for each part of ours.
        peer_timeout: Seconds for each peer.
        threads: Of each process.
    """

    peers: bool = True
    max_connections: float = 3e9
    timeout: float = 1800
    peer_timeout: float = 120
    threads: int = 1

    def row(self, name: str) -> Figures:
        """Everything about one model, by column."""
        total = self.timeout * (2 + len(RULES)) + self.peer_timeout * len(PEERS)
        outcome = guarded(lambda: self._parts(name), total, 1)
        return {"model": name, **(outcome.value or {}), "failure": outcome.failure}

    def _parts(self, name: str) -> Figures:
        """In the model's own process: it makes the model once and forks for each part."""
        warnings.simplefilter("ignore")
        subject = make_subject(name)
        found = {
            "input": "x".join(map(str, subject.x.shape)),
            "parameters": str(subject.parameters),
            "connections": str(subject.connections),
        }
        for part, seconds, work in self._work(subject):
            outcome = guarded(work, seconds, self.threads, leads=False)
            found |= {f"{part}_{key}": value for key, value in (outcome.value or {}).items()}
            if outcome.failure:
                found[f"{part}_failure"] = outcome.failure
        return found

    def _work(self, subject: Subject) -> Iterator[tuple[str, float, Callable[[], Figures]]]:
        yield "affine", self.timeout, lambda: affine_figures(subject)
        for rule in RULES:
            if rule == "softmax_neg_abs" and subject.connections >= self.max_connections:
                continue
            yield rule, self.timeout, lambda rule=rule: rule_figures(subject, rule)  # type: ignore[misc]
        for peer in PEERS if self.peers else ():
            yield peer, self.peer_timeout, lambda peer=peer: peer_figures(subject, peer)  # type: ignore[misc]
