"""keys.py: which keys are taken from what, with which algorithms; and what is refused with which words."""

import asyncio
import base64
import json
import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID
from jwt.algorithms import ECAlgorithm

from ssecast.keys import ALGORITHMS, MAX_KEYS, BadKeys, KeyFile, from_jwks, parse, problems
from ssecast.settings import JWT_ALGORITHMS
from tests.harness import until
from tests.issuer import SECRET, Signer, jwks, signer

RSA_FITS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
FITS = {
    "RS256": RSA_FITS,
    "PS512": RSA_FITS,
    "ES256": ("ES256",),
    "ES384": ("ES384",),
    "ES512": ("ES512",),
    "EdDSA": ("EdDSA",),
}


def certificate(of: Signer) -> bytes:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "issuer")])
    now = datetime.now(UTC)
    builder = x509.CertificateBuilder(name, name, of.private.public_key(), 1, now, now + timedelta(days=1))
    return builder.sign(of.private, hashes.SHA256()).public_bytes(Encoding.PEM)


def der(of: Signer) -> bytes:
    found: bytes = of.private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return found


def ssh(of: Signer) -> bytes:
    found: bytes = of.private.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH)
    return found


def wrong(data: bytes, algorithms: tuple[str, ...] = ALGORITHMS) -> str:
    with pytest.raises(BadKeys) as found:
        parse(data, algorithms)
    return str(found.value)


def test_the_algorithms_of_the_settings_are_those_of_the_keys() -> None:
    assert sorted(ALGORITHMS) == sorted(JWT_ALGORITHMS)


@pytest.mark.parametrize("algorithm", FITS)
def test_a_public_key_fits_the_algorithms_of_its_kind_in_every_form(algorithm: str) -> None:
    of = signer(algorithm, kid="k")
    [pem], [jwk], [one] = parse(of.pem, ALGORITHMS), parse(jwks(of), ALGORITHMS), parse(_json(of), ALGORITHMS)
    assert pem.algorithms == jwk.algorithms == one.algorithms == FITS[algorithm]
    assert (pem.kid, jwk.kid, one.kid) == (None, "k", "k")
    assert pem.material == jwk.material == one.material == of.private.public_key()


def _json(of: Signer) -> bytes:
    return b"\n " + json.dumps(of.jwk).encode()


def test_a_certificate_is_taken_for_its_key_and_a_file_may_hold_several() -> None:
    rsa_key, ec_key = signer("RS256"), signer("ES256")
    keys = parse(certificate(rsa_key) + b"# old\n" + ec_key.pem, ALGORITHMS)
    assert [key.material for key in keys] == [rsa_key.private.public_key(), ec_key.private.public_key()]


@pytest.mark.parametrize(
    ("length", "fits"),
    [(32, ("HS256",)), (47, ("HS256",)), (48, ("HS256", "HS384")), (64, ("HS256", "HS384", "HS512"))],
)
def test_a_secret_fits_the_algorithms_that_it_is_long_enough_for(length: int, fits: tuple[str, ...]) -> None:
    [key] = parse(b"x" * length + b"\r\n", ALGORITHMS)
    assert (key.algorithms, key.material) == (fits, b"x" * length)


def test_a_secret_may_be_any_bytes() -> None:
    secret = bytes(range(128, 192))
    assert parse(secret, ALGORITHMS)[0].material == secret
    assert parse(SECRET, ALGORITHMS)[0].material == SECRET


def test_only_the_algorithms_of_the_settings_are_kept() -> None:
    [key] = parse(signer("RS256").pem, ("RS256", "ES256"))
    assert key.algorithms == ("RS256",)


def test_a_jwk_that_names_its_algorithm_is_for_that_one_alone() -> None:
    jwk = signer("RS256").jwk | {"alg": "PS384"}
    assert parse(json.dumps(jwk).encode(), ALGORITHMS)[0].algorithms == ("PS384",)


@pytest.mark.parametrize("algorithm", FITS)
def test_a_public_key_never_passes_for_a_secret(algorithm: str) -> None:
    """Whoever knows the key, and everybody does, could sign with it as an HMAC's secret."""
    of = signer(algorithm)
    base64_key = base64.b64encode(der(of))
    for form in (der(of), base64_key, base64.encodebytes(der(of)), of.pem[:-20], of.pem.replace(b"-----END", b"--END")):
        wrong(form)
    if algorithm != "ES384":
        assert "OpenSSH" in wrong(ssh(of))
    assert "PEM lines" in wrong(base64_key)


def test_a_public_key_whose_last_byte_is_a_line_end_never_passes_for_a_secret_either() -> None:
    """One key in 128 ends so."""
    made = (der(Signer("ES256", ec.generate_private_key(ec.SECP256R1()))) for _ in range(10_000))
    assert "PEM lines" in wrong(next(form for form in made if form.endswith((b"\n", b"\r"))))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "holds a secret of 0 bytes; at least 32 are needed"),
        (b"too short\n", "holds a secret of 9 bytes; at least 32 are needed"),
        (signer("RS256").private_pem, "holds a private key; only the public one belongs here"),
        (signer("EdDSA").pem + signer("EdDSA").private_pem, "holds a private key; only the public one belongs here"),
        (b"-----BEGIN PUBLIC KEY-----\nMIIB", "holds PEM that is cut off"),
        (
            b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
            "holds PEM that is no public key and no certificate",
        ),
        (b'{"keys": ', "is no JSON"),
        (b"{" + b'"a":[' * 100_000, "is no JSON"),
        (b'{"keys": []}', "is JSON, but no JWK Set with keys in it"),
        (b'{"keys": {"kty": "RSA"}}', "is JSON, but no JWK Set with keys in it"),
        (b'{"issuer": "x"}', "is JSON, but no JWK Set with keys in it"),
        (b'{"keys": [1]}', "holds a JWK that is not meant for signatures"),
        (b'{"kty": "RSA", "use": "enc"}', "holds a JWK that is not meant for signatures"),
        (b'{"kty": "RSA", "key_ops": ["encrypt"]}', "holds a JWK that is not meant for signatures"),
        (b'{"kty": "RSA", "kid": 7}', "holds a JWK whose `kid` is no text"),
        (b'{"kty": "RSA"}', "holds a JWK that cannot be read"),
        (b'{"kty": "RSA", "n": "!", "e": []}', "holds a JWK that cannot be read"),
        (b'{"kty": "new"}', "holds a JWK that cannot be read"),
        (b'{"kty": "oct", "k": "eHg"}', "holds a secret of 2 bytes; at least 32 are needed"),
        (signer("ES256").pem * (MAX_KEYS + 1), f"holds more than {MAX_KEYS} keys"),
        (jwks(*[signer("ES256")] * (MAX_KEYS + 1)), f"holds more than {MAX_KEYS} keys"),
    ],
    ids=lambda value: None if isinstance(value, bytes) else value.split(";")[0],
)
def test_what_cannot_be_used_is_said(data: bytes, words: str) -> None:
    assert wrong(data) == words


def test_keys_that_are_too_weak_or_of_another_curve_are_refused() -> None:
    weak = Signer("RS256", rsa.generate_private_key(65537, 1024))
    curve = Signer("ES256", ec.generate_private_key(ec.SECP256K1()))
    assert wrong(weak.pem) == "holds an RSA key of 1024 bits; at least 2048 are needed"
    assert wrong(curve.pem) == "holds a key on the curve secp256k1, for which there is no algorithm here"


def test_a_key_for_which_no_algorithm_is_allowed_is_refused() -> None:
    assert wrong(signer("ES256").pem, ("RS256",)) == (
        "holds a key for ES256, none of which SSECAST_JWT_ALGORITHMS allows"
    )


def test_a_set_passes_over_what_it_cannot_use() -> None:
    """A server's set holds keys for encryption and for algorithms of tomorrow, too."""
    good = signer("ES256", kid="good")
    others = [{"kty": "RSA", "use": "enc"}, {"kty": "AKP", "alg": "ML-DSA-44"}, signer("HS256").jwk, 5]
    document = json.dumps({"keys": [*others, good.jwk]}).encode()
    assert [key.kid for key in from_jwks(document, ALGORITHMS, secrets=False)] == ["good"]


def test_a_set_that_everybody_can_read_holds_no_secret() -> None:
    secret = signer("HS256", kid="s")
    assert from_jwks(jwks(secret), ALGORITHMS, secrets=True)[0].material == secret.private
    with pytest.raises(BadKeys, match="holds a secret that everybody can read"):
        from_jwks(jwks(secret), ALGORITHMS, secrets=False)


def test_a_private_jwk_is_refused() -> None:
    """What verifies needs no private key, and so it must not be lying about."""
    private = ECAlgorithm.to_jwk(signer("ES256").private)
    assert '"d"' in private
    assert wrong(private.encode()) == "holds a private key; only the public one belongs here"


# The file


def test_a_key_file_is_checked_before_the_start(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(signer("ES256").pem)
    assert problems(str(file), ALGORITHMS) == []
    file.write_bytes(b"short")
    assert problems(str(file), ALGORITHMS) == [
        f"SSECAST_JWT_KEY_FILE='{file}' is not allowed: it holds a secret of 5 bytes; at least 32 are needed."
    ]
    file.write_bytes(b"x" * (1 << 19))
    assert "is larger than 262144 bytes" in problems(str(file), ALGORITHMS)[0]
    file.unlink()
    assert "cannot be read: No such file" in problems(str(file), ALGORITHMS)[0]


async def test_a_changed_file_is_read_again_and_a_broken_one_leaves_the_old_keys(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_bytes(signer("ES256").pem)
    ring = KeyFile(str(file), ALGORITHMS)
    first = ring.keys
    await ring.freshen()
    assert ring.keys is first, "an unchanged file makes no new keys"

    file.write_bytes(b"half a ke")
    await ring.freshen()
    await ring.freshen()
    assert ring.keys is first
    file.unlink()
    await ring.freshen()
    assert ring.keys is first
    assert ring.loads == {"ok": 1, "failed": 2}, "each change is tried once"

    file.write_bytes(signer("EdDSA").pem)
    await ring.freshen()
    assert [key.algorithms for key in ring.keys] == [("EdDSA",)]
    assert ring.loads == {"ok": 2, "failed": 2}


async def test_a_file_behind_a_link_is_watched_as_kubernetes_swaps_it(tmp_path: Path) -> None:
    """A mounted Secret is a link to a link; a rotation swaps the one in the middle, and no file that is there changes."""
    for version, algorithm in (("1", "ES256"), ("2", "EdDSA")):
        (tmp_path / version).mkdir()
        (tmp_path / version / "key").write_bytes(signer(algorithm).pem)
    (tmp_path / "..data").symlink_to("1")
    (tmp_path / "key").symlink_to("..data/key")
    ring = KeyFile(str(tmp_path / "key"), ALGORITHMS)
    running = asyncio.ensure_future(ring.run())
    (tmp_path / "new").symlink_to("2")
    os.replace(tmp_path / "new", tmp_path / "..data")
    await until(lambda: ring.keys[0].algorithms == ("EdDSA",), "the new key")
    running.cancel()


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not here: apt-get install openssl")
def test_the_file_that_openssl_writes_is_understood(tmp_path: Path) -> None:
    """What the README tells people to type."""
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    for line in (
        f"openssl ecparam -name prime256v1 -genkey -noout -out {private}",
        f"openssl ec -in {private} -pubout -out {public}",
    ):
        subprocess.run(line.split(), check=True, capture_output=True)
    assert problems(str(public), ALGORITHMS) == []
    assert "private key" in problems(str(private), ALGORITHMS)[0]
