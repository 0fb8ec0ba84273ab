"""``python -m sslbolts`` is the ``sslbolts`` command."""

import sys

from sslbolts.cli import main

if __name__ == "__main__":
    sys.exit(main())
