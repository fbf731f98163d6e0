"""`python -m enogu`: the command line."""

import sys

from enogu.cli import main

if __name__ == "__main__":
    sys.exit(main())
