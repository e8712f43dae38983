"""Keys that DeepSpeed does not know, no longer reads, or passes over without a word."""

from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from flyball.tuners.config.deepspeed_facts import facts_of, versions_with
from flyball.tuners.config.reading import known_keys, nearest, read, stands
from flyball.tuners.legality.context import Context, is_before, release
from flyball.tuners.legality.finding import Finding, Rule, found
from flyball.tuners.legality.sections import CheckedSection, checked_sections

RENAMED: Mapping[str, tuple[tuple[int, ...], str]] = {
    "aio.thread_count": ((0, 16, 9), "intra_op_parallelism"),
}
"""Old key to the first version known to pass over it, and the new name."""


def removed_keys(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """DeepSpeed 0.19.7 and later raise on the settings of features they dropped."""
    if context.deepspeed_version is None:
        return
    for key, version in _removed(context.deepspeed_version).items():
        if stands(config, key):
            what = f"removed from DeepSpeed in {version}, and {context.deepspeed_version} refuses it"
            yield found("key-removed", key, what, "remove the key")


@cache
def _removed(installed: str) -> Mapping[str, str]:
    """Key path to the version that removed it, of those that the installed one refuses."""
    now = release(installed) or ()
    since = {
        key: version
        for version, keys in known_keys().removed_in.items()
        if now >= (release(version) or ())
        for key in keys
    }
    return {key: since.get(key, installed) for key in sorted(since.keys() | facts_of(installed).removed)}


def unknown_fields(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """A key that the section's model does not have; DeepSpeed drops every "auto" before it looks."""
    if context.deepspeed_version is None:
        return
    for section in checked_sections(config, context):
        for key, value in section.content.items():
            path = f"{section.name}.{key}"
            known_here = key in section.fields or path in _removed(context.deepspeed_version)
            if not known_here and value != "auto":
                yield _unknown(path, section, key, context)


def _unknown(path: str, section: CheckedSection, key: str, context: Context) -> Finding:
    version = context.deepspeed_version
    elsewhere = versions_with(section.model, key)
    if elsewhere:
        first, last = elsewhere[0], elsewhere[-1]
        what = f"DeepSpeed {version} does not have this key"
        span = first if first == last else f"{first} to {last}"
        return found("key-version", path, f"{what}: of those known here, {span} do", "remove the key")
    close = nearest(key, section.fields)
    mend = f"did you mean {close!r}?" if close else "remove it"
    return found("key-unknown", path, f"DeepSpeed {version} refuses this key", mend)


def ignored_keys(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """At the top DeepSpeed reads what it knows and nothing else; a leading underscore marks a note."""
    keys = known_keys().top_level
    for key in config:
        if key not in keys and not key.startswith("_"):
            close = nearest(key, keys)
            mend = f"did you mean {close!r}?" if close else "remove it, or start its name with '_'"
            yield found("key-ignored", key, "DeepSpeed reads no such key", mend)


def passed_over(config: Mapping[str, Any], context: Context) -> Iterator[Finding]:
    """A misspelt name in a section that DeepSpeed does not check takes the default silently."""
    for section, allowed in _unchecked(context.deepspeed_version).items():
        content = read(config, section)
        if not isinstance(content, Mapping):
            continue
        for key in content:
            path = f"{section}.{key}"
            if path in RENAMED and not is_before(context, RENAMED[path][0]):
                what, new = "was renamed, and does nothing now", RENAMED[path][1]
                yield found("key-renamed", path, what, f"write {section}.{new}")
            elif key not in allowed and not key.startswith("_"):
                close = nearest(key, allowed)
                mend = f"did you mean {close!r}?" if close else "remove it"
                yield found("key-passed-over", path, "DeepSpeed passes over this key", mend)


@cache
def _unchecked(version: str | None) -> Mapping[str, frozenset[str]]:
    """Sections in which a key that is not known does nothing; fp16 and bf16 are checked since 0.17."""
    checked, strict = facts_of(version).sections, known_keys().strict_sections
    late = {section: strict[section] for section in ("fp16", "bf16") if section not in checked}
    return {**known_keys().loose_sections, **late}


RULES: tuple[Rule, ...] = (removed_keys, unknown_fields, ignored_keys, passed_over)
