"""Makes the effective configuration of ``flyball.yaml`` and of the collectors' own settings."""

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import ValidationError

from flyball.agent.daemon.authentication import read_token
from flyball.agent.daemon.collection import Wanted
from flyball.agent.daemon.config import AgentConfig
from flyball.agent.daemon.receivers_config import read_receivers
from flyball.agent.daemon.web_config import WebConfig, read_web_config
from flyball.collectors.registry import CollectorSettings, CollectorType
from flyball.errors import DatabaseError, OptionError
from flyball.policies.notification.receivers.settings import ReceiverSettings
from flyball.policies.rule import Rule
from flyball.yaml_file import YamlFile, plain, read_yaml

SEE = "docs/agent.md"


@dataclass(frozen=True, kw_only=True, slots=True)
class Effective:
    """A configuration that was checked as a whole."""

    config: AgentConfig
    settings: Mapping[str, CollectorSettings]
    """Of every collector that there is, switched off ones included."""
    wanted: Mapping[str, Wanted]
    """The collectors that are switched on."""
    web: WebConfig
    token: str | None = None
    receivers: Mapping[str, ReceiverSettings] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()
    """Of the policies."""
    folder: Path = field(default_factory=Path, compare=False)
    """Of the file: where relative paths start."""


def read_config(
    path: Path | None, types: Callable[[], Mapping[str, CollectorType]], *, listen: str | None = None
) -> Effective:
    """Read and check everything; without a path all keys have their defaults.

    Args:
        path: ``flyball.yaml``; paths in it are relative to its folder.
        types: the collectors that there are.
        listen: overrides the file's.

    Raises:
        OptionError: the first fault, with file, line, key and mend.
    """
    file = YamlFile(name="defaults", document={})
    if path is not None:
        file = read_yaml(path, mend=f"name a configuration file, see {SEE}")
    document = plain(file.document)
    if listen is not None:
        document["listen"] = listen
        file = file if "listen" in file.document else YamlFile(name="--listen", document=file.document)
    config = file.validated(AgentConfig, document, see=SEE)
    folder = path.parent if path is not None else Path()
    folder = folder.absolute()
    config = _anchored(config, folder)
    settings, wanted = _collectors(file, config, types())
    web = read_web_config(config.web_config_file) if config.web_config_file else WebConfig()
    token = read_token(config.bearer_token_file) if config.bearer_token_file else None
    if config.allow_admin and token is None and not web.basic_auth_users:
        mend = "name a bearer_token_file, or a web_config_file with basic_auth_users"
        raise OptionError("is open to everybody", where=file.place(["allow_admin"]), mend=mend)
    receivers = read_receivers(file, config, folder)
    rules = _rules(file, config)
    return Effective(
        config=config,
        settings=settings,
        wanted=wanted,
        web=web,
        token=token,
        receivers=receivers,
        rules=rules,
        folder=folder,
    )


def read_agent_config(path: Path) -> AgentConfig:
    """Read the agent's own keys, and none of the files that they name: those may hold secrets.

    Raises:
        OptionError: the first fault, with file, line, key and mend.
    """
    file = read_yaml(path, mend=f"name a configuration file, see {SEE}")
    config = file.validated(AgentConfig, plain(file.document), see=SEE)
    if config.database is not None:
        _check_database(file, config.database)
    return _anchored(config, path.parent.absolute())


def _rules(file: YamlFile, config: AgentConfig) -> tuple[Rule, ...]:
    if not config.policies:
        return ()
    # Imported only now: with no policies there is nothing to suggest.
    from flyball.policies.rule_file import read_rules
    from flyball.tuners.knobs.registry import BY_NAME

    if config.database is not None:
        _check_database(file, config.database)
    return read_rules(config.policies, known_knobs=BY_NAME)


def _check_database(file: YamlFile, url: str) -> None:
    from flyball.database import parse_address

    try:
        parse_address(url)
    except DatabaseError as error:
        raise OptionError(error.what, where=file.place(["database"]), mend=error.mend) from error


def _anchored(config: AgentConfig, folder: Path) -> AgentConfig:
    def anchor(path: Path | None) -> Path | None:
        return None if path is None else folder / path.expanduser()

    changes: dict[str, object] = {
        name: anchor(getattr(config, name)) for name in ("web_config_file", "bearer_token_file")
    }
    folders = tuple(folder / item for item in config.run_folders)
    state = folder / config.state_folder
    policies = tuple(
        name if name == "default" else str(folder / Path(name).expanduser()) for name in config.policies
    )
    changes |= {"run_folders": folders, "state_folder": state, "policies": policies}
    if config.database is not None:
        # Imported only now: without a key of its own the database is a file of the state folder.
        from flyball.database import anchored

        changes["database"] = anchored(config.database, folder)
    return config.model_copy(update=changes)


def _collectors(
    file: YamlFile, config: AgentConfig, types: Mapping[str, CollectorType]
) -> tuple[dict[str, CollectorSettings], dict[str, Wanted]]:
    for name in config.collectors:
        if name not in types:
            close = difflib.get_close_matches(name, list(types), n=1)
            mend = f"did you mean {close[0]}?" if close else f"the collectors are {', '.join(sorted(types))}"
            raise OptionError("no such collector", where=file.place(["collectors", name]), mend=mend)
    settings: dict[str, CollectorSettings] = {}
    for name, kind in types.items():
        given = config.collectors.get(name)
        made = _settings(file, kind, given)
        if made is not None:
            settings[name] = made
    wanted = {name: Wanted(kind=types[name], settings=one) for name, one in settings.items() if one.enabled}
    return settings, wanted


def _settings(
    file: YamlFile, kind: CollectorType, given: Mapping[str, object] | None
) -> CollectorSettings | None:
    if given is None:
        try:
            return kind.settings()
        except ValidationError:  # it needs settings, and stays off until the file has them
            return None
    return file.validated(kind.settings, given, ["collectors", kind.name], see=f"{kind.name} in {SEE}")
