"""Writes trials and says each number once it is kept: python -m tests.history.writer URL NAME [COUNT]."""

import itertools
import sys

from tests.history.fakes import complete, new_experiment, new_trial

from flyball.database import open_database
from flyball.history.owner import Owner
from flyball.history.store import History


def say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def main(url: str, name: str, count: str | None = None) -> None:
    say("ready")
    sys.stdin.readline()
    with open_database(url) as database:
        history = History(database)
        experiment = new_experiment(history, name, owner=Owner.current())
        for number in range(int(count)) if count else itertools.count():
            complete(history, new_trial(history, experiment, number), 100.0 + number)
            say(str(number))


if __name__ == "__main__":
    main(*sys.argv[1:])
