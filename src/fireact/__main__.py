"""`python -m fireact` is the command `fireact`."""

import sys

from fireact.cli import main

if __name__ == "__main__":
    sys.exit(main())
