import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from flyball.runner.probe.substitution import Substituted, given_config


def initialize(args: Any = None, model: Any = None, *, config: Any = None, config_params: Any = None) -> Any:
    """As DeepSpeed: a config in two places is refused."""
    named = getattr(args, "deepspeed_config", None)
    assert named is None or config is None
    return config if config is not None else config_params if config_params is not None else named


SUBSTITUTE = {"train_micro_batch_size_per_gpu": 8, "zero_optimization": {"stage": 1}}


def substituted(substitute: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
    with Substituted(initialize, args, kwargs, substitute) as call:
        return initialize(*call.args, **call.kwargs)


def test_the_trials_config_takes_the_place_of_the_scripts_wherever_that_was() -> None:
    args = SimpleNamespace(deepspeed_config="ds.json")
    assert substituted(SUBSTITUTE, args) == SUBSTITUTE
    assert args.deepspeed_config == "ds.json"
    assert substituted(SUBSTITUTE, None, "model", config={"a": 1}) == SUBSTITUTE
    assert substituted(SUBSTITUTE, config_params={"a": 1}) == SUBSTITUTE


def test_auto_values_take_what_the_caller_had_filled_in(tmp_path: Path) -> None:
    wanted = {"train_batch_size": "auto", "bf16": {"enabled": "auto", "x": 1}, "gradient_clipping": "auto"}
    filled = {"train_batch_size": 16, "bf16": {"enabled": True}, "steps_per_print": 5}
    expected = {"train_batch_size": 16, "bf16": {"enabled": True, "x": 1}}
    assert substituted(wanted, config=filled) == expected
    (tmp_path / "ds.json").write_text(json.dumps(filled))
    assert substituted(wanted, config=str(tmp_path / "ds.json")) == expected


def test_the_source_of_a_config_is_told() -> None:
    assert given_config(initialize, (SimpleNamespace(deepspeed_config="ds.json"),), {}) == ("file", "ds.json")
    assert given_config(initialize, (), {"config_params": {"a": 1}}) == ("argument", {"a": 1})
