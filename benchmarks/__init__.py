"""Measurements that are too long for the tests; their results are committed.

They run as the commands do: idle threads soon sleep, torch asks for large pages of memory, and what
is freed is kept. It is asked for before torch is loaded, and holds for everything that is measured.
"""

from biasmatters.polite import be_polite

be_polite()
