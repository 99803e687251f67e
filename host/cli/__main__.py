"""`python -m host.cli`, for a checkout that is not installed."""

import sys

from host.cli import main

sys.exit(main())
