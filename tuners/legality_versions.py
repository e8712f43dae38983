"""Keys that the installed DeepSpeed no longer reads, and keys it passes over without a word."""

from collections.abc import Iterator, Mapping
from typing import Any

from flyball.tuners.config import known_keys, nearest, read
from flyball.tuners.context import Context, release
from flyball.tuners.finding import Finding, Rule, error, warning


def removed_keys(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """DeepSpeed 0.19.7 and later raise on the settings of features they dropped."""
    installed = release(context.deepspeed_version)
    for version, keys in known_keys().removed_in.items():
        if installed is None or installed < (release(version) or ()):
            continue
        for key in sorted(keys):
            if read(config, key) is not None:
                what = f"removed from DeepSpeed in {version}, and {context.deepspeed_version} refuses it"
                yield error(key, what, "remove the key")


def passed_over(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """A misspelt name in a section that DeepSpeed does not check takes the default silently."""
    for section, allowed in known_keys().loose_sections.items():
        content = read(config, section)
        if not isinstance(content, Mapping):
            continue
        for key in content:
            if key not in allowed:
                close = nearest(key, allowed)
                mend = f"did you mean {close!r}?" if close else "remove it"
                yield warning(f"{section}.{key}", "DeepSpeed passes over this key", mend)


RULES: tuple[Rule, ...] = (removed_keys, passed_over)
