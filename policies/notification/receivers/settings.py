"""What every receiver takes in ``flyball.yaml``; each kind derives its own from it (docs/webhooks.md)."""

import re
from pathlib import Path
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from flyball.history.alert_records import Alert, AlertStatus
from flyball.policies.rule import Severity

NAME_PATTERN = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
"""Of a receiver: it becomes a label and a key of flyball.yaml."""
_SEVERITIES = tuple(str(one) for one in Severity)
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_OURS = re.compile(
    r"(webhook-.*|host|content-.*|transfer-encoding|connection|upgrade|expect|te|trailer|user-agent)",
    re.IGNORECASE,
)
_SECRET = re.compile(r".*(auth|cookie|token|key|secret|passw|credential|signature).*", re.IGNORECASE)


def _header(name: str) -> str:
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of a header; write one as in X-Scope-OrgID")
    if _OURS.fullmatch(name):
        raise ValueError(f"{name} is set by flyball; take it out")
    return name


def _open_header(name: str) -> str:
    if _SECRET.fullmatch(name):
        raise ValueError(f"{name} carries a secret; name the file that holds it in header_files")
    return _header(name)


def _header_value(value: str) -> str:
    if not (value.isascii() and value.isprintable()):
        raise ValueError("is not printable ASCII; write the value on one line")
    return value


def text_only(value: Any) -> Any:
    """Refuse a secret that was written where its file should be named, without quoting it."""
    if isinstance(value, str) and (value.startswith("whsec_") or "\n" in value.strip()):
        raise ValueError("is a secret, not a file; write it to a file and name that")
    return value


FileWithSecret = Annotated[Path, BeforeValidator(text_only)]
"""A path, relative to the folder of ``flyball.yaml``."""


class ReceiverSettings(BaseModel):
    """What every receiver takes."""

    # What was given is not quoted: a secret may have been written where none belongs.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    type: str = Field(description="The kind of receiver.")
    minimum_severity: Severity = Field(
        default=Severity.INFO, description="The least severity that is sent: info, warning or critical."
    )
    send_resolved: bool = Field(default=True, description="Whether it is told when an alert is over.")
    max_per_second: float | None = Field(
        default=None, gt=0, le=1000, description="The most that is sent in a second; null for no limit."
    )
    give_up_after_seconds: float | None = Field(
        default=None, gt=0, description="From then on a notification is not tried any more; null for never."
    )

    def wants(self, alert: Alert) -> bool:
        """Return whether this receiver is told of ``alert``, by severity and status.

        An alert without one of the three severities is told of: nobody said that it does not matter.
        """
        if alert.status is AlertStatus.RESOLVED and not self.send_resolved:
            return False
        if alert.severity not in _SEVERITIES:
            return True
        return _SEVERITIES.index(alert.severity) >= _SEVERITIES.index(self.minimum_severity)


class HttpSettings(ReceiverSettings):
    """What receivers that speak HTTP take besides."""

    private_network: bool = Field(
        default=False, description="Whether its address may be loopback or of a private network."
    )
    timeout_seconds: float = Field(
        default=10.0, ge=0.1, le=300, description="How long one try may take, from the name to the answer."
    )
    ca_file: Path | None = Field(
        default=None, description="Certificates (PEM) to trust instead of the system's."
    )
    bearer_token_file: FileWithSecret | None = Field(
        default=None, description="File that holds the token of an Authorization header."
    )
    basic_auth_user: str | None = Field(default=None, description="User of basic auth.")
    basic_auth_password_file: FileWithSecret | None = Field(
        default=None, description="File that holds the password of basic auth."
    )
    headers: dict[
        Annotated[str, AfterValidator(_open_header)], Annotated[str, AfterValidator(_header_value)]
    ] = Field(
        default_factory=dict, description="More headers; those that carry a secret stand in header_files."
    )
    header_files: dict[Annotated[str, AfterValidator(_header)], FileWithSecret] = Field(
        default_factory=dict, description="More headers, each with the file that holds its value."
    )

    @model_validator(mode="after")
    def _one_authorization(self) -> "HttpSettings":
        if (self.basic_auth_user is None) != (self.basic_auth_password_file is None):
            raise ValueError("has one half of basic auth; name basic_auth_user and basic_auth_password_file")
        given = {name.lower() for name in self.header_files}
        ways = (
            self.bearer_token_file is not None,
            self.basic_auth_user is not None,
            "authorization" in given,
        )
        if sum(ways) > 1:
            raise ValueError(
                "has more than one Authorization; keep bearer_token_file, basic auth or the header"
            )
        return self
