"""Chapters with figures of their own: which differences are real, and what relevance forgets."""

# ruff: noqa: RUF001

from __future__ import annotations

from collections.abc import Sequence

from biasmatters.reporting.convergence import (
    convergence_figure,
    convergence_tables,
    families,
    measured,
)
from biasmatters.reporting.labels import metric_name, network_name
from biasmatters.reporting.randomization import randomization_figure, randomized
from biasmatters.reporting.rank_figure import rank_figure
from biasmatters.reporting.rank_overview import overview_figure
from biasmatters.reporting.ranking import rank_groups, rank_tables
from biasmatters.reporting.section import Picture, Section
from biasmatters.reporting.style import png
from biasmatters.reporting.tables import by_network
from biasmatters.types import Result, Versus


def ranking_section(results: Sequence[Result], versus: Sequence[Versus]) -> Section | None:
    """Which methods differ; None where nothing was compared."""
    if not versus:
        return None
    pictures = []
    for group in rank_groups(results, versus):
        network = group.data, group.model, group.normalization
        where = network_name(*network)
        pictures.append(
            Picture(
                f"ranks-{'-'.join(network)}",
                f"The ranks that the real differences leave, {where}. Methods by mean rank; blue: "
                "among the first, orange: among the last, pale: not told apart.",
                f"Table of methods by metrics with their possible ranks; {where}.",
                png(overview_figure(group)),
            )
        )
        for found in group.rankings:
            name = metric_name(found.metric)
            slug = found.metric.replace("/", "-")
            pictures.append(
                Picture(
                    f"rank-{'-'.join(network)}-{slug}",
                    f"{name}, {where}: who is really better than whom, and the ranks this leaves.",
                    f"Matrix of methods against methods and bars of ranks; {name}; {where}.",
                    png(rank_figure(found)),
                )
            )
    lead = (
        "Every pair of methods is compared on the pictures that both were scored on. A difference "
        "counts as real where its p-value, corrected for all pairs of the metric, is at most 0.05; "
        "a method's rank is then known only up to those that it is not told apart from."
    )
    tables = tuple(rank_tables(results, versus))
    return Section("ranks", "Which differences are real", lead, tables, tuple(pictures))


def randomization_section(results: Sequence[Result]) -> Section | None:
    """Maps of randomised networks; None where there are none."""
    rows, pictures = randomized(results), []
    for network, here in by_network(rows).items():
        where = f"{network_name(*network)} (n = {here[0].n:,} images)"
        pictures.append(
            Picture(
                f"randomised-{'-'.join(network)}",
                f"Similarity of maps before and after layers are drawn anew, {where}.",
                f"Line charts of similarity by layer and method; {where}.",
                png(randomization_figure(here)),
            )
        )
    if not pictures:
        return None
    lead = (
        "A map that shows what a network learned changes when its weights are drawn anew "
        "(Adebayo et al., NeurIPS 2018). Signed and absolute ranks are both given, because the "
        "verdict can flip between them. Cascading: from the output side down, what is random stays "
        "random; layer by layer: one at a time."
    )
    return Section("randomised", "Randomised networks", lead, pictures=tuple(pictures))


def convergence_section(results: Sequence[Result]) -> Section | None:
    """Cosine similarity convergence; None where it was not measured."""
    tables = convergence_tables(results)
    if not tables:
        return None
    pictures = []
    for network, here in by_network(measured(results)).items():
        where = network_name(*network)
        for number, (family, methods) in enumerate(families(here).items(), 1):
            pictures.append(
                Picture(
                    f"csc-{'-'.join(network)}-{number}",
                    f"1 − median |cos| on a log axis, {family}; {where}. Line: CSC 0.99.",
                    f"Line charts by start layer of how parallel random signals become; {family}.",
                    png(convergence_figure(here, methods)),
                )
            )
    lead = (
        "Five random signals set out at a layer and are handed down by each method's own rule. "
        "Where they arrive parallel, the map below does not depend on what was to be explained "
        "(Sixt, Granz, Landgraf, ICML 2020). For BBp it is the downward map alone that is looked "
        "at; the bias terms that it picks up on its way are not part of it."
    )
    return Section(
        "convergence", "Does relevance forget where it came from?", lead, tuple(tables),
        tuple(pictures),
    )  # fmt: skip
