"""Keys that tokens are verified with, each with the algorithms that fit it and no others; and the file that holds them.

A public key must never pass for the secret of an HMAC (algorithm confusion): whoever knows it could sign with it. So
whatever looks like a key, but is none that can be used, is refused and not taken for a secret.
"""

import asyncio
import json
import re
import time
from base64 import b64decode
from binascii import Error as NotBase64
from collections import Counter
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jwt
import structlog
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key
from cryptography.x509 import load_der_x509_certificate, load_pem_x509_certificate

HMAC_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
"""Shortest secret of each (RFC 7518, 3.2)."""

RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
RSA_BITS = 2048
"""Shortest RSA key (RFC 7518, 3.3)."""

CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
EDWARDS_ALGORITHM = "EdDSA"
ALGORITHMS = (*HMAC_BYTES, *RSA_ALGORITHMS, *CURVE_ALGORITHMS.values(), EDWARDS_ALGORITHM)

MAX_KEYS = 64
"""Keys of one file or address; a token without a key id may have to be tried with each that fits."""

MAX_FILE_BYTES = 1 << 18
LOOK_SECONDS = 1.0
"""How often the key file is looked at."""

_PEM = re.compile(rb"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)
_SSH = re.compile(rb"\s*(ssh-|ecdsa-sha2-|sk-)[a-z0-9@.\-]+ ")
_CERTIFICATES = (b"CERTIFICATE", b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE")

PublicKey = rsa.RSAPublicKey | ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | ed448.Ed448PublicKey

log = structlog.get_logger()


class BadKeys(ValueError):
    """Keys that cannot be used; the text goes on after "it"."""


class Key(NamedTuple):
    """kid: None where the key has no name. material: a public key, or the secret of an HMAC."""

    kid: str | None
    algorithms: tuple[str, ...]
    material: PublicKey | bytes


class KeyRing(Protocol):
    """Keys that can change. loads: by result. loaded_at: Unix time of the last successful load, 0 before the first."""

    keys: tuple[Key, ...]
    loads: Counter[str]
    loaded_at: float

    async def run(self) -> None:
        """Keeps the keys fresh until it is cancelled."""

    async def freshen(self) -> None:
        """Looks for newer keys now, because a token needs one that is not here. Raises access.KeysAway."""


def problems(path: str, algorithms: Iterable[str]) -> list[str]:
    """One sentence where the file's keys cannot be used."""
    try:
        read_file(Path(path), algorithms)
    except BadKeys as wrong:
        return [f"SSECAST_JWT_KEY_FILE={path!r} is not allowed: it {wrong}."]
    return []


def read_file(path: Path, algorithms: Iterable[str]) -> tuple[Key, ...]:
    """The keys of a file. Raises BadKeys."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as wrong:
        raise BadKeys(f"cannot be read: {wrong.strerror}") from None
    if len(data) > MAX_FILE_BYTES:
        raise BadKeys(f"is larger than {MAX_FILE_BYTES} bytes")
    return parse(data, algorithms)


def parse(data: bytes, algorithms: Iterable[str]) -> tuple[Key, ...]:
    """The keys in the content of a file: PEM, JWK, JWK Set, or else one secret. Raises BadKeys."""
    allowed = tuple(algorithms)
    if b"-----BEGIN" in data:
        found = [_key(None, material, allowed) for material in _from_pem(data)]
    elif data.lstrip().startswith(b"{"):
        return from_jwks(data, allowed, secrets=True)
    else:
        found = [_key(None, _secret(data), allowed)]
    if len(found) > MAX_KEYS:
        raise BadKeys(f"holds more than {MAX_KEYS} keys")
    return tuple(found)


def from_jwks(data: bytes, algorithms: Iterable[str], *, secrets: bool) -> tuple[Key, ...]:
    """The keys of a JWK Set that can be used; others (for encryption, say) are passed over.

    secrets: whether one may be a secret; a set that is served to everybody can hold none. Raises BadKeys with what is
    wrong with the first key where none can be used.
    """
    allowed, found, wrong = tuple(algorithms), list[Key](), list[BadKeys]()
    for each in _jwks(data):
        try:
            found.append(_from_jwk(each, allowed, secrets=secrets))
        except BadKeys as why:
            wrong.append(why)
    if not found:
        raise wrong[0]
    return tuple(found)


class KeyFile:
    """A file of keys, read again when it changes; while what it holds cannot be used, the old keys stay in force."""

    def __init__(self, path: str, algorithms: Iterable[str]) -> None:
        self._path, self._algorithms = Path(path), tuple(algorithms)
        self._seen = self._look()
        self.keys = read_file(self._path, self._algorithms)
        self.loads: Counter[str] = Counter(ok=1)
        self.loaded_at = time.time()

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            self._reread()

    async def freshen(self) -> None:
        self._reread()

    def _reread(self) -> None:
        seen = self._look()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self.keys = read_file(self._path, self._algorithms)
        except BadKeys as wrong:
            self.loads["failed"] += 1
            log.error("the key file has changed and cannot be used; the old keys stay in force", problem=f"it {wrong}")
        else:
            self.loads["ok"] += 1
            self.loaded_at = time.time()
            log.info("the key file was read again", keys=len(self.keys))

    def _look(self) -> tuple[int, ...]:
        """What changes when the file does; Kubernetes swaps a link, so the inode belongs to it."""
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _key(kid: str | None, material: object, allowed: tuple[str, ...], only: str | None = None) -> Key:
    """only: the one algorithm that the key itself is meant for, where it says so."""
    if not isinstance(material, PublicKey | bytes):
        raise BadKeys("holds a private key; only the public one belongs here")
    fitting = _fitting(material)
    algorithms = tuple(name for name in fitting if name in allowed and only in (None, name))
    if not algorithms:
        raise BadKeys(f"holds a key for {' or '.join(fitting)}, none of which SSECAST_JWT_ALGORITHMS allows")
    return Key(kid, algorithms, material)


def _fitting(material: PublicKey | bytes) -> tuple[str, ...]:
    """The algorithms of a key. Raises BadKeys where it is too weak for any."""
    if isinstance(material, bytes):
        fitting = tuple(name for name, least in HMAC_BYTES.items() if len(material) >= least)
        if not fitting:
            raise BadKeys(f"holds a secret of {len(material)} bytes; at least {HMAC_BYTES['HS256']} are needed")
        return fitting
    if isinstance(material, rsa.RSAPublicKey):
        if material.key_size < RSA_BITS:
            raise BadKeys(f"holds an RSA key of {material.key_size} bits; at least {RSA_BITS} are needed")
        return RSA_ALGORITHMS
    if isinstance(material, ec.EllipticCurvePublicKey):
        if material.curve.name not in CURVE_ALGORITHMS:
            raise BadKeys(f"holds a key on the curve {material.curve.name}, for which there is no algorithm here")
        return (CURVE_ALGORITHMS[material.curve.name],)
    return (EDWARDS_ALGORITHM,)


def _from_pem(data: bytes) -> list[object]:
    blocks = list(_PEM.finditer(data))
    if any(b"PRIVATE KEY" in block[1] for block in blocks):
        raise BadKeys("holds a private key; only the public one belongs here")
    if not blocks:
        raise BadKeys("holds PEM that is cut off")
    try:
        return [_from_block(block[1], block[0]) for block in blocks]
    except (ValueError, UnsupportedAlgorithm):
        raise BadKeys("holds PEM that is no public key and no certificate") from None


def _from_block(label: bytes, block: bytes) -> object:
    return load_pem_x509_certificate(block).public_key() if label in _CERTIFICATES else load_pem_public_key(block)


def _jwks(data: bytes) -> list[Any]:
    """The keys of a JWK Set, or the one JWK that it is."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        raise BadKeys("is no JSON") from None
    if isinstance(document, dict) and "kty" in document:
        return [document]
    found = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(found, list) or not found:
        raise BadKeys("is JSON, but no JWK Set with keys in it")
    if len(found) > MAX_KEYS:
        raise BadKeys(f"holds more than {MAX_KEYS} keys")
    return found


def _from_jwk(jwk: Any, allowed: tuple[str, ...], *, secrets: bool) -> Key:
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        raise BadKeys("holds a JWK that is not meant for signatures")
    kid, only = jwk.get("kid"), jwk.get("alg")
    if not isinstance(kid, str | None):
        raise BadKeys("holds a JWK whose `kid` is no text")
    try:
        material = jwt.PyJWK(jwk).key
    except Exception:  # PyJWT lets through what json, base64 and cryptography raise
        raise BadKeys("holds a JWK that cannot be read") from None
    if isinstance(material, bytes) and not secrets:
        raise BadKeys("holds a secret that everybody can read")
    return _key(kid, material, allowed, only)


def _secret(data: bytes) -> bytes:
    """The secret without the line end that editors add. Raises BadKeys for what is rather a key in another form."""
    secret = data.strip(b"\r\n")
    if _SSH.match(secret):
        raise BadKeys("holds a key in OpenSSH's format; ssh-keygen -e -m PKCS8 turns it into PEM")
    if _is_der(data) or _is_der(secret) or _is_der(_unbase64(secret)):  # a key may end in the byte of a line end
        raise BadKeys("holds a public key without its PEM lines (-----BEGIN PUBLIC KEY-----)")
    return secret


def _is_der(data: bytes) -> bool:
    for load in (load_der_public_key, load_der_x509_certificate):
        with suppress(ValueError, UnsupportedAlgorithm):
            load(data)
            return True
    return False


def _unbase64(data: bytes) -> bytes:
    try:
        return b64decode(b"".join(data.split()), validate=True)
    except NotBase64:
        return b""
