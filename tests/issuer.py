"""Who makes tokens in tests: keys of every kind, the tokens that they sign, and a real HTTP server for their public half."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from jwt.algorithms import ECAlgorithm, HMACAlgorithm, OKPAlgorithm, RSAAlgorithm

SECRET = b"a secret of sixty-four bytes, which is enough for each of HS256..512"


@dataclass(frozen=True)
class Signer:
    """A key and the algorithm that it signs with. kid: its name, in tokens and in its JWK, where it has one."""

    algorithm: str
    private: Any
    kid: str | None = None

    def token(self, claims: dict[str, Any] | None = None, /, **header: Any) -> str:
        """A token for a minute, unless the claims say otherwise; a claim that is None is left out."""
        merged = {"exp": int(time.time()) + 60, "sub": "ann"} | (claims or {})
        kept = {name: value for name, value in merged.items() if value is not None}
        named = {"kid": self.kid} if self.kid else {}
        return jwt.encode(kept, self.private, self.algorithm, named | header)

    def grant(self, subscribe: list[str] | None = None, publish: list[str] | None = None, **claims: Any) -> str:
        """A token that allows something."""
        return self.token({"ssecast": {"subscribe": subscribe or [], "publish": publish or []}, **claims})

    @property
    def pem(self) -> bytes:
        """The public key."""
        found: bytes = self.private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
        return found

    @property
    def private_pem(self) -> bytes:
        found: bytes = self.private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return found

    @property
    def jwk(self) -> dict[str, Any]:
        """The public key; for a secret, the secret."""
        key = self.private if isinstance(self.private, bytes) else self.private.public_key()
        makers: dict[str, Any] = {"HS": HMACAlgorithm, "RS": RSAAlgorithm, "PS": RSAAlgorithm, "ES": ECAlgorithm}
        made: dict[str, Any] = makers.get(self.algorithm[:2], OKPAlgorithm).to_jwk(key, as_dict=True)
        return made | ({"kid": self.kid} if self.kid else {})


@cache
def private_key(algorithm: str, number: int) -> PrivateKeyTypes | bytes:
    """Keys are made once for all tests: RSA takes its time."""
    curves: dict[str, Any] = {"ES256": ec.SECP256R1, "ES384": ec.SECP384R1, "ES512": ec.SECP521R1}
    if algorithm.startswith("HS"):
        return SECRET + str(number).encode()
    if algorithm in curves:
        return ec.generate_private_key(curves[algorithm]())
    if algorithm == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    return rsa.generate_private_key(65537, 2048)


def signer(algorithm: str = "ES256", kid: str | None = None, number: int = 0) -> Signer:
    """number: for several keys of one algorithm."""
    family = "RSA" if algorithm[0] in "RP" else algorithm
    return Signer(algorithm, private_key(family, number), kid)


def jwks(*signers: Signer) -> bytes:
    """The document that a server of keys answers with."""
    return json.dumps({"keys": [each.jwk for each in signers]}).encode()


class KeyServer:
    """A server of keys that can fail. status, body: its answer. held: while it is clear, no answer is given."""

    def __init__(self, body: bytes) -> None:
        self.status, self.body, self.headers = 200, body, ""
        self.held = asyncio.Event()
        self.held.set()
        self.requests = 0
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/keys"

    async def start(self, port: int = 0) -> "KeyServer":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", port)
        self.port: int = self._server.sockets[0].getsockname()[1]
        return self

    async def stop(self) -> None:
        self._server.close()
        for writer in self._writers:
            writer.transport.abort()
        await asyncio.gather(*self._tasks)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._writers.add(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            await self.held.wait()
            head = (
                f"HTTP/1.1 {self.status} X\r\nContent-Length: {len(self.body)}\r\nConnection: close\r\n{self.headers}"
            )
            writer.write(head.encode() + b"\r\n" + self.body)
            await writer.drain()
        self._writers.discard(writer)
        writer.close()


@contextlib.asynccontextmanager
async def key_server(*signers: Signer) -> AsyncIterator[KeyServer]:
    server = await KeyServer(jwks(*signers)).start()
    try:
        yield server
    finally:
        server.held.set()
        await server.stop()
