"""`python -m batchkit` is `batchkit`."""

import sys

from batchkit.cli import main

sys.exit(main())
