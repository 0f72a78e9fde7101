"""The command `biasmatters` as a script, for W&B agents and for running from a checkout."""

import sys

from biasmatters.cli import main

if __name__ == "__main__":
    sys.exit(main())
