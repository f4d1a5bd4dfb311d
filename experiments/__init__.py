"""Commands. Each is `python -m experiments.NAME`; `--help` lists its flags."""

import signal
import sys

# Imports take seconds, and Ctrl-C in the middle of one would print a traceback. Until `cli.run` takes over, it ends the
# command silently, as it ends any program. `-m` stands there only while Python looks for the command's module.
if sys.argv[:1] == ['-m'] and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
