"""Measurements that are too long for the tests; their results are committed.

They run as the commands do: idle threads sleep, and torch asks for large pages of memory. Both are
asked for before torch is loaded, and hold for everything that is measured.
"""

from biasmatters.polite import take_large_pages, wait_politely

wait_politely()
take_large_pages()
