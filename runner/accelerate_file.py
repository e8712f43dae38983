"""Accelerate's own config file, which ``accelerate launch`` reads; it may name the DeepSpeed config."""

import re
from collections.abc import Mapping
from pathlib import Path

from flyball.runner.invocation import Invocation

CONFIG_OPTION = "--deepspeed_config_file"


def accelerate_file(invocation: Invocation, environment: Mapping[str, str]) -> dict[str, str]:
    """Return the ``key: value`` lines of the file, of nested mappings too; empty where there is none."""
    option = invocation.option("--config_file")
    cache = environment.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    home = environment.get("HF_HOME") or f"{cache}/huggingface"
    path = Path(option.value) if option and option.value else Path(home) / "accelerate/default_config.yaml"
    if not path.is_file():
        return {}
    blank, value = r"[ \t]*", r"([^'\"\n#]*?)"
    line = rf"^{blank}(\w+):{blank}['\"]?{value}['\"]?{blank}(?:#.*)?$"
    pairs = re.findall(line, path.read_text(errors="replace"), re.MULTILINE)
    return dict(pairs)


def with_config_option(invocation: Invocation, environment: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the command with the DeepSpeed config of the file as an option, which wins over the file.

    None where the command needs no such option: another launcher, a config in the command already, or a file
    that names none.
    """
    if invocation.launcher != "accelerate" or invocation.option(CONFIG_OPTION) is not None:
        return None
    file = accelerate_file(invocation, environment)
    path = file.get("deepspeed_config_file", "")
    if file.get("distributed_type", "").upper() != "DEEPSPEED" or not path.endswith(".json"):
        return None
    start = invocation.options_start
    return (*invocation.tokens[:start], CONFIG_OPTION, path, *invocation.tokens[start:])
