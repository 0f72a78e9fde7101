"""What the paper says, as data, and verdicts on it as arithmetic."""

from biasmatters.paper.claims import Claim, judge_claim, load_claims
from biasmatters.paper.deviations import Deviation, load_deviations
from biasmatters.paper.published import (
    PaperDataError,
    Provenance,
    Published,
    PublishedNumber,
    Source,
    load_published,
)
from biasmatters.paper.verdict import Finding, Verdict, combine, judge

__all__ = [
    "Claim",
    "Deviation",
    "Finding",
    "PaperDataError",
    "Provenance",
    "Published",
    "PublishedNumber",
    "Source",
    "Verdict",
    "combine",
    "judge",
    "judge_claim",
    "load_claims",
    "load_deviations",
    "load_published",
]
