"""The only room that knows Hydra: schemas, registration, the one `build`, and the launcher."""

from biasmatters.config.build import build
from biasmatters.config.errors import ConfigError
from biasmatters.config.launch import Job, launch
from biasmatters.config.method import method_names, methods_named
from biasmatters.config.pictures import extras
from biasmatters.config.place import conf_dir
from biasmatters.config.schema import Config, register

__all__ = [
    "Config",
    "ConfigError",
    "Job",
    "build",
    "conf_dir",
    "extras",
    "launch",
    "method_names",
    "methods_named",
    "register",
]
