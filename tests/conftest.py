"""What every test may count on: Ctrl-C means what it means in a terminal."""

import signal

# A shell that starts a job in the background hands it an ignored SIGINT, and every child inherits that.
signal.signal(signal.SIGINT, signal.default_int_handler)
