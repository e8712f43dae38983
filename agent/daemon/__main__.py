"""``python -m flyball.agent.daemon``: see :mod:`flyball.agent.daemon.process`."""

import sys

from flyball.agent.daemon.process import main

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
