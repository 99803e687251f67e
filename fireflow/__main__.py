"""`python -m fireflow`, for a checkout that is not installed."""

import sys

from fireflow.host.cli import main

sys.exit(main())
