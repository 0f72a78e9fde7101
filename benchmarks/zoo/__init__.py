"""The engine on other people's models, beside its peers: ``python -m benchmarks.zoo``."""
