"""`python -m fullrank`, and what torchrun starts: `torchrun --nproc-per-node 2 -m fullrank train ...`."""

import sys

from fullrank.cli import main

if __name__ == "__main__":
    sys.exit(main())
