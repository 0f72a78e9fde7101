"""Time of the metrics over the bare forward passes they need: ``python -m benchmarks.metrics``."""
