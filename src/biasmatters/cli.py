"""The console command `biasmatters`: the Hydra application, with errors in plain words."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING

from biasmatters.polite import be_polite

if TYPE_CHECKING:
    from biasmatters.config import Job
    from biasmatters.pictures import Request
    from biasmatters.stages import Outcome

log = logging.getLogger(__name__)

OK, FAILED, DATA_MISSING, INTERRUPTED = 0, 2, 3, 130


class Session:
    """The jobs of one command line.

    Attributes:
        outcomes: What the finished jobs left behind.
        failures: What the failed ones said.
    """

    def __init__(self) -> None:
        self.jobs: list[Job] = []
        self.outcomes: list[Outcome] = []
        self.failures: list[str] = []

    def work(self, job: Job) -> None:
        """Do one job; a failed job of a multirun does not stop the others."""
        from biasmatters.types import BiasmattersError

        try:
            if job.pictures is None:
                self.run(job)
            else:
                self.explain(job.pictures)
        except BiasmattersError as error:
            if not job.multirun:
                raise
            self.failures.append(f"{job.spec.name}: {error}")

    def run(self, job: Job) -> None:
        """Run an experiment."""
        from biasmatters.stages import run_experiment
        from biasmatters.tracking import tracker

        with tracker(job.spec.config["logger"], job.spec.name, job.spec.config) as mirror:
            outcome = run_experiment(job.spec, mirror.stage)
            mirror.report(outcome.page.parent, outcome.results, outcome.versus)
        self.jobs.append(job)
        self.outcomes.append(outcome)
        log.info("%s", outcome.page)

    def explain(self, request: Request) -> None:
        """Explain pictures; those that cannot be read count as failures."""
        from biasmatters.pictures import explain_pictures

        summary = explain_pictures(request)
        self.failures += [f"left out: {failure}" for failure in summary.failures]
        log.info("%s", summary)

    def finish(self) -> int:
        """Merge the tables of a multirun, name failures, and give the exit code."""
        from biasmatters.stages import merge_reports

        if len(self.outcomes) > 1:
            page = merge_reports([job.spec for job in self.jobs], self.outcomes)
            log.info("all jobs: %s", page)
        for failure in self.failures:
            sys.stderr.write(f"biasmatters: {failure}\n")
        if self.failures:
            return FAILED
        missing = sorted({name for outcome in self.outcomes for name in outcome.missing})
        if missing:
            sys.stderr.write(
                f"biasmatters: not run: data not available: {', '.join(missing)} "
                "(the report says where it was looked for)\n"
            )
            return DATA_MISSING
        return OK


def main() -> int:
    """Run the command line; returns the exit code."""
    be_polite()
    from biasmatters.types import BiasmattersError

    session = Session()
    try:
        from biasmatters.config import launch

        launch(session.work)
        return session.finish()
    except BiasmattersError as error:
        sys.stderr.write(f"biasmatters: {error}\n")
        return FAILED
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else OK
    except KeyboardInterrupt:
        sys.stderr.write("biasmatters: stopped; run the same command again to go on\n")
        return INTERRUPTED
    except OSError as error:
        if error.filename is None:
            raise
        sys.stderr.write(f"biasmatters: {error.filename}: {error.strerror}\n")
        return FAILED
