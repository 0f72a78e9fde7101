"""The command `biasmatters` as a script, for W&B agents and for running from a checkout."""

import os
import sys

# Read when torch is loaded: threads that wait politely are faster beside other programs.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from biasmatters.cli import main

if __name__ == "__main__":
    sys.exit(main())
