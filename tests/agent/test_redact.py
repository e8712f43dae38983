import pytest

from flyball.agent.redact import redact_command, redact_urls


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("postgresql://u:s3cret@db/x", "postgresql://u:***@db/x"),
        ("postgresql+psycopg://u:s3cret@db/x: refused", "postgresql+psycopg://u:***@db/x: refused"),
        ("sqlite:////tmp/history.db", "sqlite:////tmp/history.db"),
        ("http://host:8080/a@b", "http://host:8080/a@b"),
        ("postgresql://:only@h", "postgresql://:***@h"),
    ],
)
def test_passwords_in_urls(text: str, shown: str) -> None:
    assert redact_urls(text) == shown


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("train.py --hf_token abc --lr 1", "train.py --hf_token *** --lr 1"),
        ("train.py --token=abc", "train.py --token=***"),
        ("train.py --wandb-api-key abc", "train.py --wandb-api-key ***"),
        ("train.py --max_tokens 100 --tokenizer t", "train.py --max_tokens 100 --tokenizer t"),
        ("train.py --password --lr 1", "train.py --password --lr 1"),
        ("train.py --store s3://k:v@h", "train.py --store s3://k:***@h"),
    ],
)
def test_secrets_in_commands(command: str, shown: str) -> None:
    assert " ".join(redact_command(command.split())) == shown
