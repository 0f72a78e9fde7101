"""Explain one picture after the other; a bad one is named and left out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from biasmatters.data.errors import UnreadableImageError
from biasmatters.data.progress import progress_bar
from biasmatters.models import zoo
from biasmatters.pictures.explainer import Explainer
from biasmatters.pictures.gather import Item, gather
from biasmatters.pictures.output import Record, claim, finished, key_of, write
from biasmatters.pictures.overview import write_overview
from biasmatters.pictures.request import Request

# Pictures that are drawn and written while the next ones are explained.
WAITING = 2


@dataclass(frozen=True)
class Summary:
    """What became of a request.

    Attributes:
        made: How many pictures were explained now.
        kept: How many had their results already.
        failures: What is wrong with the others.
        seconds: From the first picture to the last file, without loading the network.
        page: The overview of all of them.
    """

    made: int
    kept: int
    failures: tuple[str, ...]
    seconds: float
    page: Path

    def __str__(self) -> str:
        parts = [f"{self.made} explained"]
        if self.made:
            parts[0] += f" ({self.made / self.seconds:.2f} images/s)"
        if self.kept:
            parts.append(f"{self.kept} had their results already")
        if self.failures:
            parts.append(f"{len(self.failures)} left out")
        return f"{', '.join(parts)}: {self.page}"


def explain_pictures(request: Request) -> Summary:
    """Explain all pictures of a request.

    A run that is stopped goes on where it was. Memory does not grow with the number of pictures.

    Raises:
        PictureRequestError: What was asked for makes no sense.
        BiasmattersError: The network cannot be had or cannot be explained.
    """
    items = gather(request.pictures, request.out)
    claim(items, request)
    pretrained = zoo.load(request.network)
    explainer = Explainer(pretrained, request)
    records: list[Record] = []
    failures: list[str] = []
    made = 0
    started = time.perf_counter()
    with ThreadPoolExecutor(1) as writer, progress_bar(in_bytes=False) as bar:
        task = bar.add_task(f"explaining with {request.network}", total=len(items))
        for outcome in _outcomes(items, request, explainer, pretrained.sha256, writer):
            bar.advance(task)
            if isinstance(outcome, str):
                failures.append(outcome)
                continue
            record, new = outcome
            records.append(record)
            made += new
    seconds = time.perf_counter() - started
    page = write_overview(request, records, failures)
    return Summary(made, len(records) - made, tuple(failures), seconds, page)


Outcome = str | tuple[Record, bool]


def _outcomes(
    items: tuple[Item, ...],
    request: Request,
    explainer: Explainer,
    weights: str,
    writer: ThreadPoolExecutor,
) -> Iterator[Outcome]:
    """For every picture its record and whether it is new, or what is wrong with it, in order."""
    waiting: list[Outcome | Future[Record]] = []
    for item in items:
        waiting.append(_outcome(item, request, explainer, weights, writer))
        while len(waiting) > WAITING or (waiting and not isinstance(waiting[0], Future)):
            yield _settled(waiting.pop(0))
    while waiting:
        yield _settled(waiting.pop(0))


def _outcome(
    item: Item, request: Request, explainer: Explainer, weights: str, writer: ThreadPoolExecutor
) -> Outcome | Future[Record]:
    try:
        item.name.encode()
        key = key_of(request, weights, item.path)
        record = None if request.again else finished(item, request, key)
        if record is not None:
            return record, False
        return writer.submit(write, item, request, explainer.explain(item.path), key)
    except UnreadableImageError as error:
        return str(error)
    except UnicodeEncodeError:
        return f"The picture {item.path} cannot be used: its name is not UTF-8. Rename it."
    except OSError as error:
        return f"The picture {item.path} cannot be read: {error.strerror}."


def _settled(outcome: Outcome | Future[Record]) -> Outcome:
    return (outcome.result(), True) if isinstance(outcome, Future) else outcome
