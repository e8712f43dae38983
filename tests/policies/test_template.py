"""Templates: what they give, what is refused, and what Prometheus makes of the same."""

import json
import math
import re
import subprocess
from pathlib import Path

import pytest
from tests.patience import PATIENCE_SECONDS

from flyball.errors import BadInput
from flyball.policies.template import fill, prometheus_template, template_faults

LABELS = {"gpu": "3", "host": "node-7"}
EVERY = "{{ value }} {{ value | percent }} {{ value | duration }} {{ value | bytes }} {{ value | number }}"


@pytest.mark.parametrize(
    ("text", "value", "expected"),
    [
        ("GPU {{ labels.gpu }} of {{labels.host}}", 0.0, "GPU 3 of node-7"),
        ("{{ value }}", 0.25, "0.25"),
        ("{{ value }}", 3.0, "3"),
        ("{{ value }}", 1_500_000.0, "1.5e+06"),
        ("{{ value | percent }}", 0.3456, "34.56%"),
        ("{{ value|duration }}", 0.0015, "1.5ms"),
        ("{{ value | duration }}", 0.00005, "50us"),
        ("{{ value | duration }}", 20.0, "20s"),
        ("{{ value | duration }}", 180.0, "3m 0s"),
        ("{{ value | duration }}", 93_784.0, "1d 2h 3m 4s"),
        ("{{ value | bytes }}", 1.5 * 2**30, "1.5GiB"),
        ("{{ value | bytes }}", 1.0, "1B"),
        ("{{ value | number }}", 1_234_567.0, "1.235M"),
        ("{{ value | percent }}", math.nan, "NaN%"),
        ("{{ value | duration }}", -math.inf, "-Inf"),
        ("one { brace } stays", 0.0, "one { brace } stays"),
        ("{{ labels.gone }}.", 0.0, "."),
        ("", 0.0, ""),
    ],
)
def test_what_a_template_gives(text: str, value: float, expected: str) -> None:
    assert fill(text, labels=LABELS, value=value) == expected


@pytest.mark.parametrize(
    ("text", "what", "mend"),
    [
        ("{{ labels.gpus }}", "the series have no label gpus", "did you mean gpu?"),
        ("{{ labels.rank }}", "the series have no label rank", "the labels are gpu, host"),
        ("{{ value | percents }}", "'percents' is no filter", "did you mean percent?"),
        ("{{ value | }}", "'' is no filter", "the filters are percent, duration, bytes, number"),
        ("{{ value | percent | bytes }}", "'percent | bytes' is no filter", "did you mean percent?"),
        ("{{ $labels.gpu }}", "'$labels.gpu' is no placeholder", "write {{ labels.gpu }}"),
        ("{{ labels.gpu | percent }}", "'labels.gpu | percent' is no placeholder", "write {{ labels.NAME }}"),
        ("{{ __import__('os') }}", "'__import__('os')' is no placeholder", "write {{ labels.NAME }}"),
        ("{{}}", "'' is no placeholder", "write {{ labels.NAME }} or {{ value }}"),
        ("{{ value", "'{{' is never closed", "write '}}'"),
        ("value }}", "'}}' closes nothing", "write '{{'"),
    ],
)
def test_what_is_refused(text: str, what: str, mend: str) -> None:
    (fault,) = template_faults(text, ["gpu", "host"])
    assert fault.what == what
    assert mend in fault.mend


def test_every_fault_is_named() -> None:
    assert len(template_faults("{{ a }} {{ value }} {{ labels.b }} {{ value | c }} {{", ["gpu"])) == 4


def test_a_refused_template_is_neither_filled_nor_exported() -> None:
    with pytest.raises(BadInput, match="no filter"):
        fill("{{ value | c }}", labels={}, value=0.0)
    with pytest.raises(BadInput, match="no placeholder"):
        prometheus_template("{{ a }}")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("GPU {{labels.gpu}}", "GPU {{ $labels.gpu }}"),
        ("{{ value }}", "{{ $value }}"),
        ("{{ value|percent }}", "{{ $value | humanizePercentage }}"),
        ("{{ value | bytes }}", "{{ $value | humanize1024 }}B"),
    ],
)
def test_the_same_in_prometheus_language(text: str, expected: str) -> None:
    assert prometheus_template(text) == expected


@pytest.mark.live
def test_prometheus_gives_the_same_text(tmp_path: Path, promtool: str) -> None:
    values = [
        *(0.0, 1.0, -1.0, 0.5, 0.71239, 12.3456, 999.0, 1000.0, 1023.0, 1024.0, 1536.0, 999_999.0, 1e6),
        *(1_234_567.0, 123_456.789, 1e-4, 1e-5, 5e-5, 1.5e-3, 59.99, 60.0, 61.5, 3599.0, 3600.0, 86_399.0),
        *(86_400.0, 90_061.0, -125.0, -0.0015, 1e-9, 0.1234567, 1e-30, math.nan, math.inf, -math.inf),
    ]
    rule = {"alert": "A", "expr": "x != 0.123", "annotations": {"text": prometheus_template(EVERY)}}
    (tmp_path / "rules.json").write_text(json.dumps({"groups": [{"name": "g", "rules": [rule]}]}), "utf-8")
    series = [
        {"series": f'x{{k="{place}"}}', "values": repr(value).replace("nan", "NaN").replace("inf", "Inf")}
        for place, value in enumerate(values)
    ]
    alerts = [
        {
            "exp_labels": {"k": str(place)},
            "exp_annotations": {"text": fill(EVERY, labels={}, value=value)},
        }
        for place, value in enumerate(values)
    ]
    check = {"eval_time": "0m", "alertname": "A", "exp_alerts": alerts}
    test = {"interval": "1m", "input_series": series, "alert_rule_test": [check]}
    document = {"rule_files": ["rules.json"], "evaluation_interval": "1m", "tests": [test]}
    (tmp_path / "test.json").write_text(json.dumps(document), "utf-8")
    command = [promtool, "test", "rules", "test.json"]
    done = subprocess.run(
        command, cwd=tmp_path, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
    )
    assert re.search("SUCCESS", done.stdout), done.stdout + done.stderr
