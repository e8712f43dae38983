"""A configuration in a line: what runs, by which policies, and who is told."""

from collections.abc import Iterable

from flyball.agent.daemon.config_file import Effective


def summary(effective: Effective) -> str:
    """Return the summary, for people."""
    rules, files = len(effective.rules), _policy_files(effective)
    policies = f"{_counted(rules, 'policy', 'policies')} from {', '.join(files)}" if files else "no policies"
    count = len(effective.receivers)
    told = _counted(count, "receiver", "receivers") if count else "no receiver"
    return "; ".join(
        (
            effective.config.listen,
            f"collectors: {_names(effective.wanted)}",
            policies,
            f"{told}: {_names(effective.receivers)}" if count else told,
        )
    )


def summary_values(effective: Effective) -> dict[str, object]:
    """Return the same for the log."""
    return {
        "collectors": ",".join(sorted(effective.wanted)),
        "policies": len(effective.rules),
        "policy_files": ",".join(_policy_files(effective)),
        "receivers": len(effective.receivers),
    }


def _policy_files(effective: Effective) -> tuple[str, ...]:
    """Return the files that the policies were read from; ``default`` is the one that comes with flyball."""
    return tuple(dict.fromkeys(effective.config.policies))


def _names(named: Iterable[str]) -> str:
    return ", ".join(sorted(named)) or "none"


def _counted(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
