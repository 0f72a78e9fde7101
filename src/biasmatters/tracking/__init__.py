"""Mirrors runs to Weights & Biases, if asked to; the only room that knows it."""

from biasmatters.tracking.tracker import NoTracker, Tracker, tracker

__all__ = ["NoTracker", "Tracker", "tracker"]
