"""Whatever happens, every alert has one life: pending?, firing, resolved; or pending, dropped."""

from collections import defaultdict

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.policies.engine_bench import COUNTER, GAUGE, rule, run_info, sample

from flyball.collectors.base import Sample
from flyball.history.alert_records import Alert, AlertStatus, Transition
from flyball.policies.engine import Engine
from flyball.policies.rule import Aggregate, Comparison, Rule

RANKS = ("0", "1", "2")
LIVES = {
    None: {AlertStatus.PENDING, AlertStatus.FIRING},
    AlertStatus.PENDING: {AlertStatus.FIRING, AlertStatus.DROPPED},
    AlertStatus.FIRING: {AlertStatus.RESOLVED},
    AlertStatus.RESOLVED: set(),
    AlertStatus.DROPPED: set(),
}

durations = st.sampled_from([0.0, 1.0, 3.0, 10.0])
numbers = st.sampled_from([0.0, 1.0, 2.0, 9.0, float("nan")])
steps = st.one_of(
    st.tuples(
        st.just("read"),
        st.sampled_from(["one", "two"]),
        st.dictionaries(st.sampled_from(RANKS), numbers),
        st.sampled_from(["", "stepping", "evaluating"]),
    ),
    st.tuples(st.just("stale"), st.sampled_from(["one", "two"])),
    st.tuples(st.just("jump"), st.sampled_from([-50.0, -1.0, 5.0, 400.0])),
    st.tuples(st.just("restart"), durations),
    st.tuples(st.just("reload")),
)


@st.composite
def rules(draw: st.DrawFn) -> list[Rule]:
    chosen = []
    for number in range(draw(st.integers(1, 3))):
        metric = draw(st.sampled_from([GAUGE, COUNTER]))
        of_gauges = [Aggregate.LAST, Aggregate.AVG, Aggregate.MAX, Aggregate.P90]
        aggregate = draw(st.sampled_from(of_gauges if metric is GAUGE else [Aggregate.RATE]))
        absent = draw(st.booleans())
        phase = draw(st.sampled_from(["", "stepping"]))
        chosen.append(
            rule(
                metric,
                aggregate,
                0.0 if aggregate is Aggregate.LAST else 5.0,
                alert=f"Rule{number}",
                comparison=draw(st.sampled_from([Comparison.ABOVE, Comparison.NOT_EQUAL])),
                threshold=1.0,
                absent=absent,
                phase=phase,
                within_seconds=draw(durations) if phase and not absent else 0.0,
                for_seconds=draw(durations),
                keep_firing_for_seconds=draw(durations),
            )
        )
    return chosen


class Lives:
    """What was told, checked as it comes."""

    def __init__(self) -> None:
        self.statuses: dict[tuple[str, float], AlertStatus] = {}

    def hear(self, transitions: tuple[Transition, ...]) -> None:
        for each in transitions:
            name = (each.alert.fingerprint, each.alert.active_time)
            assert each.alert.status in LIVES[self.statuses.get(name)], each
            self.statuses[name] = each.alert.status

    def check(self, active: tuple[Alert, ...]) -> None:
        """What the engine says it holds is what was told and has not ended; one life at a time for each."""
        told = {name: status for name, status in self.statuses.items() if LIVES[status]}
        assert {(each.fingerprint, each.active_time): each.status for each in active} == told
        lives = defaultdict(int)
        for fingerprint, _ in told:
            lives[fingerprint] += 1
        assert set(lives.values()) <= {1}


def reading(values: dict[str, float], phase: str) -> list[Sample]:
    found = [
        sample(metric, value, ("r", rank)) for metric in (GAUGE, COUNTER) for rank, value in values.items()
    ]
    return found + [run_info(phase, rank=rank) for rank in RANKS if phase]


@settings(max_examples=150)
@given(rules(), st.lists(steps, max_size=40))
def test_every_alert_has_one_life(chosen: list[Rule], happenings: list[tuple[str, ...]]) -> None:
    engine, now, lives = Engine(chosen), 1000.0, Lives()
    for kind, *rest in happenings:
        # After a jump back no moment comes a second time: an alert's name has the moment when it began.
        now += 1.001
        if kind == "read":
            source, values, phase = rest
            engine.observe(source, now, reading(values, phase))
        elif kind == "stale":
            engine.stale(rest[0], now)
        elif kind == "jump":
            now += float(rest[0])
        elif kind == "reload":
            chosen = chosen[1:] + chosen[:1]
            lives.hear(engine.change(chosen[: max(len(chosen) - 1, 1)], now))
        else:
            standing, now = engine.active(), now + float(rest[0])
            engine = Engine(chosen)
            engine.restore(standing, now=now, down_seconds=float(rest[0]))
        lives.hear(engine.evaluate(now))
        lives.check(engine.active())
