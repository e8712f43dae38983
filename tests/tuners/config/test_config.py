import ast
from importlib.util import find_spec
from pathlib import Path

import pytest

from flyball.errors import ConfigError
from flyball.tuners.config.reading import known_keys, load_config, load_document

FAULTS = {
    "empty": ("", "is empty", "write at least"),
    "blank": ("  \n\n", "is empty", "write at least"),
    "comment_slashes": (
        '{\n  // batch\n  "train_batch_size": 8\n}',
        ":2:3: a comment",
        "remove the comment at line 2",
    ),
    "comment_hash": (
        '{\n  "train_batch_size": 8 # all\n}',
        ":2:25: a comment",
        "remove the comment at line 2",
    ),
    "comment_block": ('{"train_batch_size": /* all */ 8}', ":1:22: a comment", "remove the comment"),
    "trailing_comma": (
        '{\n  "train_batch_size": 8,\n}',
        ":2:24: a comma after the last entry",
        "remove the comma",
    ),
    "no_comma": ('{\n  "train_batch_size": 8\n  "bf16": {}\n}', ":3:3: expected ',' or '}'", "a comma"),
    "cut_short": ('{"train_batch_size": ', "the file ends too early", "close what was opened"),
    "open_string": ('{"train_batch_size', ":1:2: unterminated string", 'close it with "'),
    "single_quotes": ("{\"optimizer\": 'AdamW'}", "single quotes", "double quotes"),
    "bare_key": ("{train_batch_size: 8}", ":1:2: expected a key in double quotes", '{"key"'),
    "python_true": ('{"bf16": {"enabled": True}}', "True is not JSON", "write true"),
    "not_a_number": ('{"gradient_clipping": NaN}', "NaN is not a number in JSON", "finite"),
    "infinity": ('{"gradient_clipping": -Infinity}', "-Infinity is not a number", "finite"),
    "twice": (
        '{\n"train_batch_size": 8,\n"train_batch_size": 4\n}',
        ":3:1: the key 'train_batch_size' stands twice",
        "line 2",
    ),
    "a_list": ("[1, 2]", "not a JSON object", 'write {"key": value'),
    "two_objects": ('{"train_batch_size": 8} {}', ":1:25: text after the end", "remove it"),
    "unknown": (
        '{\n  "train_batch_sise": 8\n}',
        ":2: train_batch_sise: DeepSpeed knows no such key",
        "'train_batch_size'",
    ),
    "unknown_nested": (
        '{"train_batch_size": 8,\n"zero_optimization": {\n"stage": 2,\n"overlap_com": true}}',
        ":4: zero_optimization.overlap_com",
        "'overlap_comm'",
    ),
    "far_from_any": ('{"train_batch_size": 8, "qqqqqq": 1}', "qqqqqq", "start its name with '_'"),
    "too_deep": ('{"a":' * 100, "nested deeper", "flatter"),
    "too_many_digits": ('{"train_batch_size": ' + "9" * 400 + "}", "99... is too large", "fewer digits"),
    "too_large": ('{"gradient_clipping": 1e400}', "1e400... is too large", "fewer digits"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_faulty_config_is_one_line_with_its_place_and_mend(name: str, tmp_path: Path) -> None:
    text, what, mend = FAULTS[name]
    path = tmp_path / f"{name}.json"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    line = str(caught.value)
    assert line.startswith(str(path))
    assert what in line
    assert mend in line
    assert "\n" not in line


def test_a_config_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no such file"):
        load_config(tmp_path / "ds.json")


def test_a_folder_is_no_config(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path)


def test_binary_is_no_config(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(path)


def test_a_valid_config_keeps_values_and_lines(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text(
        '{\n "train_batch_size": 8,\n "_note": "ours",\n "fp16": {"enabled": "auto", "whatever": "auto"},\n'
        ' "zero_optimization": {\n  "stage": 2,\n  "reduce_bucket_size": 5e8}, "gradient_clipping": -5e-2}\n'
    )
    document = load_document(path)
    assert document.values["zero_optimization"] == {"stage": 2, "reduce_bucket_size": 5e8}
    assert document.values["gradient_clipping"] == -0.05
    assert isinstance(document.values["train_batch_size"], int)
    assert document.place("zero_optimization.stage") == f"{path}:6: zero_optimization.stage"
    assert document.place("zero_optimization.overlap_comm").startswith(f"{path}:5:")


def test_unicode_and_escapes_survive(tmp_path: Path) -> None:
    path = tmp_path / "ds.json"
    path.write_text('{"train_batch_size": 1, "_name": "caf\\u00e9 \\"x\\" // no comment"}', encoding="utf-8")
    assert load_config(path)["_name"] == 'café "x" // no comment'


def model_fields(source: Path, name: str) -> set[str]:
    """Fields and aliases of a pydantic model, read from its source without importing it."""
    tree = ast.parse(source.read_text())
    body = next(node for node in ast.walk(tree) if isinstance(node, ast.ClassDef) and node.name == name).body
    found = set()
    for line in body:
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name):
            found.add(line.target.id)
            keywords = line.value.keywords if isinstance(line.value, ast.Call) else []
            found |= {
                str(k.value.value) for k in keywords if k.arg == "alias" and isinstance(k.value, ast.Constant)
            }
    return found


@pytest.mark.parametrize(
    ("section", "file", "model"),
    [
        ("zero_optimization", "runtime/zero/config.py", "DeepSpeedZeroConfig"),
        (
            "zero_optimization.offload_param",
            "runtime/zero/offload_config.py",
            "DeepSpeedZeroOffloadParamConfig",
        ),
        (
            "zero_optimization.offload_optimizer",
            "runtime/zero/offload_config.py",
            "DeepSpeedZeroOffloadOptimizerConfig",
        ),
        ("fp16", "runtime/precision_config.py", "DeepSpeedFP16Config"),
        ("bf16", "runtime/precision_config.py", "DeepSpeedBF16Config"),
        ("compile", "compile/config.py", "CompileConfig"),
        ("comms_logger", "comm/config.py", "CommsLoggerConfig"),
        ("timers.throughput", "utils/config.py", "DeepSpeedThroughputTimerConfig"),
    ],
)
def test_every_key_of_the_installed_deepspeed_is_known(section: str, file: str, model: str) -> None:
    spec = find_spec("deepspeed")
    assert spec is not None
    assert spec.origin is not None
    fields = model_fields(Path(spec.origin).parent / file, model)
    assert fields
    assert fields <= known_keys().strict_sections[section]
