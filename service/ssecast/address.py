"""Where NATS is and what opens it: servers, logins, certificates, and why a server could not be had, in words.

Nothing here may repeat a password, a token or a key: not in a label, not in an error.
"""

import os
import re
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from urllib.parse import SplitResult, unquote, urlsplit

import nats.errors

PORT = 4222
X509_OTHER_NAME = (62, 64)
"""OpenSSL's codes for a certificate that is good, but made for another host name or address."""

_CREDENTIALS = re.compile(r"-BEGIN NATS USER JWT-+\n\S+\n.*-BEGIN USER NKEY SEED-+\nS\S+\n", re.DOTALL)


class AddressError(Exception):
    """What keeps a server from being used, in words that name the setting."""


class Server(NamedTuple):
    """One server. user alone is a token. tls_name: what its certificate must be for, where that is not the host."""

    host: str
    port: int = PORT
    tls: bool = False
    user: str | None = None
    password: str | None = None
    tls_name: str | None = None

    @property
    def label(self) -> str:
        """Where it is, without what opens it."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def url(self) -> str:
        return f"{'tls' if self.tls else 'nats'}://{self.label}"

    def peer(self, where: str) -> "Server":
        """Another server of its cluster, which opens to the same login; where: `host:port`, as this one tells it."""
        parts = urlsplit(f"nats://{where}")
        name = self.tls_name or self.host
        return self._replace(host=parts.hostname or "", port=parts.port or PORT, tls_name=name if self.tls else None)


@dataclass(frozen=True, slots=True)
class Address:
    """urls: a comma list of nats:// and tls:// addresses, which may hold logins. The files are read at each use."""

    urls: str
    creds_file: str | None = None
    ca_file: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    @property
    def servers(self) -> tuple[Server, ...]:
        """TLS is asked of every server as soon as anything here speaks of it: no answer makes it less."""
        parts = [urlsplit(url.strip()) for url in self.urls.split(",")]
        tls = bool(self.ca_file or self.cert_file) or any(each.scheme == "tls" for each in parts)
        return tuple(_server(each, tls) for each in parts)

    @property
    def hosts(self) -> str:
        return ", ".join(server.label for server in self.servers)

    def tls_context(self) -> ssl.SSLContext:
        """Raises AddressError where a file is not what it should be."""
        context = ssl.create_default_context(cafile=self._checked(self.ca_file, "CA"))
        if self.cert_file is not None:
            try:
                # Without a password OpenSSL would ask for one on the terminal, and the pod would stand still.
                context.load_cert_chain(self.cert_file, self.key_file, password="")
            except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
                raise AddressError(
                    f"SSECAST_NATS_CERT_FILE ({self.cert_file}) and SSECAST_NATS_KEY_FILE ({self.key_file}) "
                    f"are not a certificate and its unencrypted key: {_openssl(error)}"
                ) from None
        return context

    def credentials(self) -> str | None:
        """The content of the credentials file. Raises AddressError where it is none: nats-py would search it for ever."""
        if self.creds_file is None:
            return None
        try:
            text = Path(self.creds_file).read_text()
        except (OSError, UnicodeDecodeError) as error:
            raise AddressError(f"SSECAST_NATS_CREDS_FILE ({self.creds_file}) cannot be read: {_plain(error)}") from None
        if not _CREDENTIALS.search(text):
            raise AddressError(f"SSECAST_NATS_CREDS_FILE ({self.creds_file}) does not hold a user JWT and a seed")
        return text

    def why(self, error: Exception) -> str:
        """Why a server could not be had, in words, with the setting that may mend it."""
        if isinstance(error, ssl.SSLCertVerificationError):
            return self._distrust(error)
        if isinstance(error, ssl.SSLError) and "CERTIFICATE_REQUIRED" in str(error):
            return "it asks for a client certificate: set SSECAST_NATS_CERT_FILE and SSECAST_NATS_KEY_FILE"
        if isinstance(error, ssl.SSLError):
            return f"TLS failed: {_openssl(error)}"
        said = _plain(error)
        if isinstance(error, nats.errors.Error) and "auth" in said.lower():
            return f"it refuses the login ({said}): look at SSECAST_NATS_CREDS_FILE, or the login in SSECAST_NATS_URL"
        return said

    def _distrust(self, error: ssl.SSLCertVerificationError) -> str:
        if error.verify_code in X509_OTHER_NAME:
            return f"its certificate is for another name: {error.verify_message}"
        return (
            f"its certificate is not trusted: {error.verify_message}; "
            "SSECAST_NATS_CA_FILE must hold the CA that signed it"
        )

    @staticmethod
    def _checked(path: str | None, name: str) -> str | None:
        """A file of certificates that can be loaded. Raises AddressError."""
        if path is not None:
            try:
                ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(path)
            except OSError as error:
                raise AddressError(
                    f"SSECAST_NATS_{name}_FILE ({path}) holds no certificate: {_openssl(error)}"
                ) from None
        return path


def _server(url: SplitResult, tls: bool) -> Server:
    """As other NATS clients do, logins are taken as percent-encoded: a password may hold @ and /."""
    user, password = (None if part is None else unquote(part) for part in (url.username, url.password))
    return Server(url.hostname or "", url.port or PORT, tls, user, password)


def _plain(error: Exception) -> str:
    """What an error says without the numbers and addresses that Python adds to it."""
    if isinstance(error, nats.errors.UnexpectedEOF):  # a kind of the next one
        return "it was closed from the other side"
    if isinstance(error, nats.errors.StaleConnectionError):
        return "it has not answered pings"
    if isinstance(error, socket.gaierror):
        return f"its name cannot be looked up: {error.strerror}"
    if isinstance(error, ssl.SSLError):
        return _openssl(error)
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    if isinstance(error, TimeoutError):
        return str(error).removeprefix("nats: ") or "no answer in time"
    return str(error).removeprefix("nats: ") or type(error).__name__


def _openssl(error: Exception) -> str:
    """The words of `[SSL: KEY_VALUES_MISMATCH] key values mismatch (_ssl.c:4149)`."""
    if not isinstance(error, ssl.SSLError):
        return _plain(error)
    words = re.sub(r"^\[.*?\] ?| ?\(_ssl\.c:\d+\)$", "", str(error.args[-1]))
    return "no PEM, or locked with a passphrase" if words == "PEM lib" else words
