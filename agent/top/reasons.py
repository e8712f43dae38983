"""Why something is not known, each reason once, with its mend."""

from collections.abc import Iterable, Mapping
from typing import Final

from flyball.agent.top.view import Missing

_LOG = "the kernel's log (dmesg) says why"
MENDS: Final[Mapping[str, str]] = {
    "driver_mismatch": "the driver was updated: load its new module, or reboot",
    "driver_not_loaded": "load the driver (modprobe nvidia)",
    "gpm_not_supported": "read busy instead: it says whether any kernel ran",
    "gpu_lost": f"{_LOG}; a reset or a reboot brings it back",
    "journal_catching_up": "it comes with one of the next views",
    "journal_no_permission": "look as the run's owner, or join the group of the folder",
    "journal_schema_newer": "update flyball: the run's probe is newer",
    "library_not_found": "install NVIDIA's driver; give a container its GPUs (--gpus all)",
    "no_answer": f"it hangs or is very slow; {_LOG}",
    "no_permission": "look as root, or let the administrator open it",
    "no_recent_step": "`flyball p2p` finds a slow link; the run's own log says what it waits for",
    "nvml_too_old": "update the driver, and nvidia-ml-py",
    "p2p_not_measured": "start the run with `flyball run --ping-every-steps 100`",
    "reset_required": "nvidia-smi --gpu-reset, when nothing runs there",
    "run_folder_is_a_link": "links are not followed: move the folder there",
    "run_name_taken": "give each run a name of its own",
}
"""By reason; a reason that explains itself has none."""


class Reasons:
    """Gathers what is missing while a view is built."""

    def __init__(self) -> None:
        self._found: dict[str, tuple[str, dict[str, None], dict[str, None]]] = {}

    def note(self, reason: str, *, what: str, where: str = "", detail: str = "") -> None:
        """Something is not known.

        Args:
            reason: in snake case.
            what: the value, as the view calls it.
            where: a GPU, a run.
            detail: the source's own words; the first for a reason counts.
        """
        _, values, places = self._found.setdefault(reason, (detail, {}, {}))
        values[what] = None
        if where:
            places[where] = None

    def missing(self) -> tuple[Missing, ...]:
        """One for each reason, in the order in which they came."""
        return tuple(
            Missing(what=_what(values, places), reason=reason, detail=detail, mend=MENDS.get(reason, ""))
            for reason, (detail, values, places) in self._found.items()
        )


def missing_of(reason: str, *, what: str, detail: str) -> Missing:
    """One reason by itself."""
    return Missing(what=what, reason=reason, detail=detail, mend=MENDS.get(reason, ""))


def _what(values: Iterable[str], places: Iterable[str]) -> str:
    what, where = ", ".join(values), _few(list(places))
    return f"{what} of {where}" if where else what


def _few(places: list[str], most: int = 4) -> str:
    more = f" and {len(places) - most} more" if len(places) > most else ""
    return ", ".join(places[:most]) + more
