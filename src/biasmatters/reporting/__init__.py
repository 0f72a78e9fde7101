"""Tables, figures and pages: pure functions of result rows and arrays."""

from biasmatters.reporting.content import ContactSheet, ReportContent, ReportError
from biasmatters.reporting.labels import data_name, input_name, method_name
from biasmatters.reporting.report import write_report
from biasmatters.reporting.sheet import sheet_figure

__all__ = [
    "ContactSheet",
    "ReportContent",
    "ReportError",
    "data_name",
    "input_name",
    "method_name",
    "sheet_figure",
    "write_report",
]
