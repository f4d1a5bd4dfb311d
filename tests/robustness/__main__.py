"""The command of this package; see `reliability`."""

import sys

from tests.robustness.reliability import main

sys.exit(main())
