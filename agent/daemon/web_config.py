"""The web configuration file, in the format of Prometheus' exporter-toolkit.

The format: https://github.com/prometheus/exporter-toolkit/blob/master/docs/web-configuration.md.
What Python's TLS cannot do is refused: a setting that protects must not be read over.
"""

import re
import ssl
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from flyball.errors import OptionError
from flyball.yaml_file import YamlFile, plain, read_yaml

SEE = "docs/agent.md"
Version = Literal["TLS10", "TLS11", "TLS12", "TLS13"]
_VERSIONS = {
    "TLS10": ssl.TLSVersion.TLSv1,
    "TLS11": ssl.TLSVersion.TLSv1_1,
    "TLS12": ssl.TLSVersion.TLSv1_2,
    "TLS13": ssl.TLSVersion.TLSv1_3,
}
HEADERS = (
    "Content-Security-Policy",
    "X-Frame-Options",
    "X-Content-Type-Options",
    "X-XSS-Protection",
    "Strict-Transport-Security",
)
_BCRYPT = re.compile(r"\$2[aby]\$\d\d\$[./A-Za-z0-9]{53}")
_CIPHER = re.compile(
    r"TLS_(ECDHE_(?:RSA|ECDSA))_WITH_(AES_128_GCM_SHA256|AES_256_GCM_SHA384|CHACHA20_POLY1305)"
)


def _hash(value: str) -> str:
    if not _BCRYPT.fullmatch(value):
        raise ValueError("is no bcrypt hash; make one with htpasswd -nBC 10 USER")
    return value


def _cipher(value: str) -> str:
    if not _CIPHER.match(value):
        raise ValueError(f"{value!r} is not supported; name ECDHE suites with AES-GCM or ChaCha20 of TLS 1.2")
    return value


def _header(value: str) -> str:
    if value not in HEADERS:
        raise ValueError(f"{value!r} cannot be set; write one of {', '.join(HEADERS)}")
    return value


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class TlsConfig(_Part):
    """``tls_server_config``."""

    cert_file: Path
    key_file: Path
    client_auth_type: Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"] = (
        "NoClientCert"
    )
    client_ca_file: Path | None = None
    min_version: Version = "TLS12"
    max_version: Version = "TLS13"
    cipher_suites: tuple[Annotated[str, AfterValidator(_cipher)], ...] = ()
    prefer_server_cipher_suites: bool = True


class HttpConfig(_Part):
    """``http_server_config``; the agent speaks HTTP/1.1, which every client of HTTP/2 does too."""

    http2: bool = True
    headers: dict[Annotated[str, AfterValidator(_header)], str] = Field(default_factory=dict)


class WebConfig(_Part):
    """The whole file."""

    tls_server_config: TlsConfig | None = None
    http_server_config: HttpConfig = HttpConfig()
    basic_auth_users: dict[str, Annotated[str, AfterValidator(_hash)]] = Field(
        default_factory=dict, repr=False
    )


def read_web_config(path: Path) -> WebConfig:
    """Read and check a web configuration file, certificates included.

    Raises:
        OptionError: the first fault, with file, line, key and mend.
    """
    file = read_yaml(path, mend="name a web configuration file, or set web_config_file: null")
    document = {key: value for key, value in plain(file.document).items() if value is not None}
    web = file.validated(WebConfig, document, see=SEE)
    if web.tls_server_config is None:
        return web
    tls = web.tls_server_config
    folder = path.parent
    files = {name: folder / getattr(tls, name) for name in ("cert_file", "key_file")}
    if tls.client_ca_file is not None:
        files["client_ca_file"] = folder / tls.client_ca_file
    web = web.model_copy(update={"tls_server_config": tls.model_copy(update=files)})
    _check(web, file)
    return web


def _check(web: WebConfig, file: YamlFile) -> None:
    tls = web.tls_server_config
    assert tls is not None
    at = ["tls_server_config"]
    if tls.client_auth_type != "NoClientCert" and tls.client_ca_file is None:
        where = file.place([*at, "client_auth_type"])
        raise OptionError("has nothing to verify against", where=where, mend="name a client_ca_file")
    if tls.client_auth_type == "NoClientCert" and tls.client_ca_file is not None:
        mend = "write client_auth_type: RequireAndVerifyClientCert, or take it out"
        raise OptionError("is not used", where=file.place([*at, "client_ca_file"]), mend=mend)
    for name in ("cert_file", "key_file", "client_ca_file"):
        path = getattr(tls, name)
        if path is not None and not path.is_file():
            mend = "name a file that exists; paths are relative to this file"
            raise OptionError(f"no such file {path}", where=file.place([*at, name]), mend=mend)
    try:
        tls_context(tls)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        mend = "name a PEM certificate and the key that belongs to it"
        raise OptionError(f"cannot be used ({error})", where=file.place(at), mend=mend) from error


def tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """What a server of ``tls`` wraps its connections in. Raises OSError, ssl.SSLError, ValueError."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version, context.maximum_version = _VERSIONS[tls.min_version], _VERSIONS[tls.max_version]
    context.load_cert_chain(tls.cert_file, tls.key_file)
    if tls.cipher_suites:
        context.set_ciphers(":".join(_openssl_name(suite) for suite in tls.cipher_suites))
    if tls.prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    if tls.client_ca_file is not None:
        context.load_verify_locations(tls.client_ca_file)
        required = tls.client_auth_type == "RequireAndVerifyClientCert"
        context.verify_mode = ssl.CERT_REQUIRED if required else ssl.CERT_OPTIONAL
    return context


def _openssl_name(suite: str) -> str:
    match = _CIPHER.match(suite)
    assert match is not None
    cipher = match[2].replace("AES_128", "AES128").replace("AES_256", "AES256")
    return f"{match[1]}-{cipher}".replace("_", "-")
