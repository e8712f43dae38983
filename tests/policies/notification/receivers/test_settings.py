"""What the settings of receivers refuse, and in which words; which alerts a receiver wants."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError
from tests.policies.notification.receivers.records import firing, resolved
from tests.policies.notification.receivers.webhooks import surroundings

from flyball.errors import OptionError
from flyball.policies.notification.receivers.alertmanager import AlertmanagerSettings
from flyball.policies.notification.receivers.apprise import AppriseSettings
from flyball.policies.notification.receivers.registry import make_receiver, receiver_types
from flyball.policies.notification.receivers.settings import ReceiverSettings
from flyball.policies.notification.receivers.webhook import WebhookSettings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
PLAIN = {"type": "webhook", "url": "https://example.org/", "unsigned": True}


def fault(settings: type[ReceiverSettings], **given: Any) -> tuple[str, str]:
    """Key path and words of the one fault."""
    with pytest.raises(ValidationError) as caught:
        settings.model_validate(given)
    (first,) = caught.value.errors()
    return ".".join(str(part) for part in first["loc"] if part != "[key]"), first["msg"]


@pytest.mark.parametrize(
    ("given", "place", "says"),
    [
        ({"url": "example.org"}, "url", "is no http or https URL; write one as in https://"),
        ({"url": "ftp://example.org"}, "url", "is no http or https URL; "),
        ({"url": "file:///etc/passwd"}, "url", "is no http or https URL; "),
        ({"url": "https://"}, "url", "has no host; "),
        ({"url": "http://0177.0.0.1/"}, "url", "is no URL; "),
        ({"url": 7}, "url", "is no URL; "),
        (
            {"url": "https://me:pw@example.org/"},
            "url",
            "has a user or password in it; take it out, and name the file",
        ),
        ({"url": "https://me@example.org/"}, "url", "has a user or password in it; "),
        ({"url": "https://example.org/***"}, "url", "is masked; write the whole URL"),
        (
            {"url": "https://example.org:25/"},
            "url",
            "has port 25, which is another protocol's; name 80, 443 or",
        ),
        ({"url": "https://example.org:0/"}, "url", "has port 0"),
        ({"url": "https://example.org:70000/"}, "url", "has port 70000"),
        ({"url": "http://169.254.169.254/latest"}, "url", "is never connected to"),
        ({"url": "http://[fd00:ec2::254]/"}, "url", "is never connected to"),
        ({"url": "http://[fe80::1%25eth0]/"}, "url", "is never connected to"),
        ({"url": None}, "", "has not exactly one address; name either url or url_file"),
        ({"url_file": "url"}, "", "has not exactly one address; "),
        ({"unsigned": False}, "", "is not signed; name secret_files, or set unsigned: true if that is meant"),
        ({"secret_files": ["a"]}, "", "is unsigned and has secret_files; "),
        ({"secret_files": [SECRET], "unsigned": False}, "secret_files.0", "is a secret, not a file; "),
        (
            {"bearer_token_file": "a", "basic_auth_user": "me", "basic_auth_password_file": "b"},
            "",
            "has more than",
        ),
        (
            {"bearer_token_file": "a", "header_files": {"authorization": "b"}},
            "",
            "has more than one Authorization",
        ),
        ({"basic_auth_user": "me"}, "", "has one half of basic auth; "),
        ({"headers": {"X-Api-Key": "k"}}, "headers.X-Api-Key", "X-Api-Key carries a secret; name the file"),
        ({"headers": {"Authorization": "k"}}, "headers.Authorization", "Authorization carries a secret; "),
        ({"headers": {"Webhook-Id": "k"}}, "headers.Webhook-Id", "Webhook-Id is set by flyball; take it out"),
        ({"headers": {"a b": "k"}}, "headers.a b", "'a b' is no name of a header; "),
        ({"headers": {"X-A": "a\r\nHost: b"}}, "headers.X-A", "is not printable ASCII; "),
        ({"timeout_seconds": 0}, "timeout_seconds", "greater than or equal to 0.1"),
        ({"max_per_second": 0}, "max_per_second", "greater than 0"),
        ({"minimum_severity": "high"}, "minimum_severity", "'info', 'warning' or 'critical'"),
        ({"urls": ["https://example.org"]}, "urls", "Extra inputs are not permitted"),
    ],
)
def test_a_wrong_webhook(given: dict[str, Any], place: str, says: str) -> None:
    found, message = fault(WebhookSettings, **{**PLAIN, **given})
    assert found == place
    assert says in message


def test_a_wrong_alertmanager() -> None:
    assert fault(AlertmanagerSettings, type="alertmanager")[0] == "urls"
    assert fault(AlertmanagerSettings, type="alertmanager", urls=[])[0] == "urls"
    place, message = fault(
        AlertmanagerSettings, type="alertmanager", urls=["http://a:9093", "http://u:p@b:9093"]
    )
    assert place == "urls.1"
    assert "user or password" in message


def test_an_alertmanager_may_be_private_and_a_webhook_may_not_unless_it_is_said() -> None:
    assert AlertmanagerSettings.model_validate(
        {"type": "alertmanager", "urls": ["http://a:9093"]}
    ).private_network
    assert not WebhookSettings.model_validate(PLAIN).private_network


@pytest.mark.parametrize(
    ("type_name", "given", "files", "expected"),
    [
        ("webhook", {"secret_files": ["gone"]}, {}, "receivers.ops.secret_files.0: {}/gone: No such file"),
        ("webhook", {"secret_files": ["s"]}, {"s": ""}, "receivers.ops.secret_files.0: {}/s: is empty; "),
        (
            "webhook",
            {"secret_files": ["s"]},
            {"s": "hunter2"},
            "s: holds no secret that begins with whsec_; make one",
        ),
        (
            "webhook",
            {"secret_files": ["s"]},
            {"s": "whsec_hunter2!"},
            "s: holds no base64 behind whsec_; make one",
        ),
        (
            "webhook",
            {"secret_files": ["s"]},
            {"s": "whsec_aHVudGVyMg=="},
            "a key of 7 bytes, not of 24 to 64; make",
        ),
        (
            "webhook",
            {"bearer_token_file": "s"},
            {"s": "a\nhunter2"},
            "ops.bearer_token_file: {}/s: holds more than one",
        ),
        (
            "webhook",
            {"header_files": {"X-K": "s"}},
            {"s": "hünter2"},
            "ops.header_files.X-K: {}/s: is not ASCII text",
        ),
        ("webhook", {"ca_file": "gone"}, {}, "receivers.ops.ca_file: {}/gone: No such file"),
        (
            "webhook",
            {"ca_file": "s"},
            {"s": "hunter2"},
            "receivers.ops.ca_file: {}/s holds no certificate; name a file",
        ),
        (
            "webhook",
            {"url": None, "url_file": "s"},
            {"s": "http://u:hunter2@a"},
            "ops.url_file: {}/s: has a user or",
        ),
        (
            "apprise",
            {"url_file": "s"},
            {"s": "hunter2"},
            "ops.url_file: {}/s: holds no URL that Apprise knows; see",
        ),
        ("apprise", {"url_file": "gone"}, {}, "receivers.ops.url_file: {}/gone: No such file"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_line_without_what_is_in_it(
    tmp_path: Path,
    type_name: str,
    given: dict[str, Any],
    files: dict[str, str],
    expected: str,
    apprise_loaded: None,
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, "utf-8")
    values: dict[str, Any] = {"type": type_name, **given}
    if type_name == "webhook":
        values = {**PLAIN, **values, "unsigned": "secret_files" not in given}
    settings = receiver_types()[type_name].settings.model_validate(values)
    with pytest.raises(OptionError) as caught:
        make_receiver("ops", settings, surroundings(tmp_path))
    line = str(caught.value)
    assert expected.format(tmp_path) in line
    assert "; " in line
    assert "hunter2" not in line


@pytest.mark.parametrize(
    ("minimum", "severity", "wanted"),
    [
        ("info", "info", True),
        ("warning", "info", False),
        ("warning", "warning", True),
        ("warning", "critical", True),
        ("critical", "warning", False),
        ("critical", "page", True),
        ("critical", "", True),
    ],
)
def test_by_severity(minimum: str, severity: str, wanted: bool) -> None:
    settings = AppriseSettings.model_validate(
        {"type": "apprise", "url_file": "u", "minimum_severity": minimum}
    )
    assert settings.wants(firing(severity=severity)) is wanted


@pytest.mark.parametrize("send_resolved", [True, False])
def test_by_status(send_resolved: bool) -> None:
    settings = WebhookSettings.model_validate({**PLAIN, "send_resolved": send_resolved})
    assert settings.wants(firing())
    assert settings.wants(resolved(firing())) is send_resolved


def test_every_kind_has_the_same_settings_in_common_each_with_a_description() -> None:
    kinds = receiver_types()
    assert list(kinds) == ["webhook", "alertmanager", "apprise"]
    for kind in kinds.values():
        assert set(ReceiverSettings.model_fields) <= set(kind.settings.model_fields)
        assert all(field.description for field in kind.settings.model_fields.values())
