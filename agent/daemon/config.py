"""What ``flyball.yaml`` may say; docs/agent.md documents every key."""

from enum import StrEnum
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict, Field, field_validator

from flyball.agent.daemon.watched import Limits
from flyball.policies.advice import AdviceSettings
from flyball.settings import AGENT_PORT, state_folder


class LogFormat(StrEnum):
    """How a log line is written."""

    TEXT = "text"
    JSON = "json"


class LogLevel(StrEnum):
    """The least that is logged."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class AgentConfig(BaseModel):
    """The whole file. A key that is left out has its default."""

    # What was given is not quoted: a receiver's secret may have been written where none belongs.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    listen: str = Field(
        default=f"127.0.0.1:{AGENT_PORT}",
        description="Address and port to serve on, as in 0.0.0.0:19753 or [::1]:19753.",
    )
    external_url: str | None = Field(
        default=None,
        description="How the agent is reached from elsewhere, for links in alerts; "
        "null for this machine's name and the port of listen.",
    )
    web_config_file: Path | None = Field(
        default=None,
        description="TLS and basic auth, in the format of Prometheus' exporter-toolkit; null for neither.",
    )
    bearer_token_file: Path | None = Field(
        default=None,
        description="File that holds the token which every request must carry; null for none.",
    )
    allow_admin: bool = Field(
        default=False,
        description="Whether POST /-/reload works and tuning requests can be taken; both then need the "
        "bearer token or basic auth.",
    )
    run_folders: tuple[Path, ...] = Field(
        default_factory=lambda: (state_folder() / "runs",),
        min_length=1,
        description="Folders whose runs are watched; a shared one may hold runs of several users.",
    )
    state_folder: Path = Field(
        default_factory=state_folder,
        description="Where the agent remembers how far it has read; one agent a folder.",
    )
    finished_seconds: float = Field(
        default=60.0, ge=0, le=86400, description="How long the series of a finished run stay."
    )
    max_series: int = Field(
        default=20_000, ge=1, le=1_000_000, description="The most series that one collector may give."
    )
    stall_seconds: float | None = Field(
        default=None,
        ge=0.1,
        le=3600,
        description="A collection that takes longer is a stall; null for the larger of 10 s and 3 intervals.",
    )
    stale_after_seconds: float = Field(
        default=30.0, ge=0, le=86400, description="How long the last reading of a stalled collector is shown."
    )
    log_format: LogFormat = Field(default=LogFormat.TEXT, description="text (key=value) or json.")
    log_level: LogLevel = Field(default=LogLevel.INFO, description="debug, info, warning or error.")
    max_connections: int = Field(
        default=256,
        ge=4,
        le=100_000,
        description="The most open connections; past it the longest idle one is closed.",
    )
    max_requests: int = Field(
        default=32, ge=1, le=10_000, description="The most requests at one time; further ones get status 503."
    )
    max_body_bytes: int = Field(
        default=65_536, ge=0, le=2**30, description="The largest request body; a larger one gets status 413."
    )
    max_header_bytes: int = Field(
        default=16_384, ge=1024, le=2**20, description="The largest request line and headers together."
    )
    request_seconds: float = Field(
        default=15.0,
        ge=0.1,
        le=3600,
        description="The longest that a client may take from its first byte to its answer's last.",
    )
    collectors: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        description="Collectors by name, each with its own settings; one that is left out has its defaults.",
    )
    policies: tuple[str, ...] = Field(
        default=("default",),
        description="Files of alerting rules; default stands for those that come with flyball, and an "
        "empty list for no alerts at all.",
    )
    database: str | None = Field(
        default=None,
        repr=False,
        description="URL of the database of alerts; null for agent.db in state_folder. A relative path in it "
        "starts at the file's folder.",
    )
    tuning_request_seconds: float = Field(
        default=600.0,
        ge=0,
        le=30 * 86_400,
        description="How long an alert that names knobs must fire before a tuning request is held.",
    )
    advice: AdviceSettings = Field(
        default_factory=AdviceSettings, description="What serving runs are advised."
    )
    receivers: dict[str, dict[str, Any]] = Field(
        default_factory=dict,
        repr=False,
        exclude=True,
        description="Where alerts are sent, by name, each with its type and its own settings.",
    )

    @property
    def database_url(self) -> str:
        """URL of the database of alerts."""
        return self.database or f"sqlite:///{self.state_folder / 'agent.db'}"

    @field_validator("listen")
    @classmethod
    def _address(cls, value: str) -> str:
        host_and_port(value)
        return value

    @field_validator("external_url")
    @classmethod
    def _plain_url(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
            raise ValueError(
                "is no plain http or https URL; write one as in https://node-7.example.org:19753"
            )
        if parts.username or parts.password:
            raise ValueError("has a user or password in it; take it out, since it stands in every alert")
        return value.rstrip("/")

    @field_validator("run_folders", "state_folder", mode="after")
    @classmethod
    def _home(cls, value: Any) -> Any:
        return tuple(item.expanduser() for item in value) if isinstance(value, tuple) else value.expanduser()

    @property
    def limits(self) -> Limits:
        """What each collector may take."""
        return Limits(
            max_series=self.max_series,
            stall_seconds=self.stall_seconds,
            stale_after_seconds=self.stale_after_seconds,
        )


NEEDS_RESTART = (
    "listen",
    "run_folders",
    "state_folder",
    "database",
    "advice",
    "tuning_request_seconds",
    "finished_seconds",
    "max_connections",
    "max_requests",
    "max_body_bytes",
    "max_header_bytes",
    "request_seconds",
)
"""Keys that a reload does not take over; that they changed is logged."""


def host_and_port(listen: str) -> tuple[str, int]:
    """Split an address.

    Raises:
        ValueError: it has no port, or its host is no address; pydantic's line says where.
    """
    host, colon, port = listen.rpartition(":")
    host = host.strip("[]") or "0.0.0.0"
    if not colon or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{listen!r} has no port from 0 to 65535; write an address as in 127.0.0.1:19753")
    if host != "localhost":
        try:
            ip_address(host)
        except ValueError:
            message = f"{host!r} is no address of this machine; write an address as in 127.0.0.1:19753"
            raise ValueError(message) from None
    return host, int(port)
