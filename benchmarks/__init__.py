"""Measurements that are too long for the tests; their results are committed."""
