"""BBp's time and memory beside its peers': ``python -m benchmarks.speed``."""
