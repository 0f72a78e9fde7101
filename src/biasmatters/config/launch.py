"""Run Hydra's application: one job, or a grid of them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig

from biasmatters.config.build import build
from biasmatters.config.pictures import pictures_of
from biasmatters.config.place import conf_dir
from biasmatters.config.schema import register
from biasmatters.config.typo import explain
from biasmatters.stages.spec import ExperimentSpec
from biasmatters.types import BiasmattersError

if TYPE_CHECKING:
    from biasmatters.pictures import Request

Work = Callable[["Job"], None]


@dataclass(frozen=True)
class Job:
    """One job: an experiment or pictures to explain, and whether it is one of several."""

    spec: ExperimentSpec
    multirun: bool
    pictures: Request | None = None


def launch(work: Work) -> None:
    """Compose the configuration from ``sys.argv`` and run the job, or each job of a multirun.

    Args:
        work: Does one job.

    Raises:
        ConfigError: The command line or a value is wrong.
        BiasmattersError: Whatever a job raises on purpose.
    """
    register()
    conf = conf_dir()

    @hydra.main(version_base="1.3", config_path=str(conf), config_name="config")
    def application(config: DictConfig) -> None:
        multirun = HydraConfig.get().mode == RunMode.MULTIRUN
        variant = _variant(HydraConfig.get().job.override_dirname) if multirun else ""
        try:
            spec = build(config, variant=variant, multirun=multirun)
            work(Job(spec, multirun, pictures_of(spec)))
        except BiasmattersError as error:
            failures.append(error)

    failures: list[BiasmattersError] = []
    try:
        with _raw_errors():
            application()
    except HydraException as error:
        raise explain(error, sys.argv[1:], conf) from error
    if failures:
        raise failures[0]


def _variant(dirname: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.=,-]+", "-", dirname) or "default"


@contextmanager
def _raw_errors() -> Iterator[None]:
    """Let Hydra raise its errors, so that they can be explained, rather than print and exit."""
    name = "HYDRA_FULL_ERROR"
    before = os.environ.get(name)
    os.environ[name] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[name]
        else:
            os.environ[name] = before
