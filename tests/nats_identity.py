"""NATS's operator mode for tests: an operator, an account and users as signed JWTs, made here and valid nowhere else."""

import base64
import json
import secrets
from dataclasses import dataclass, field
from typing import Any

import nkeys  # type: ignore[import-untyped]

UNLIMITED = {
    "subs": -1, "conn": -1, "leaf": -1, "imports": -1, "exports": -1, "data": -1, "payload": -1, "wildcards": True,
}  # fmt: skip
JETSTREAM = {"mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1}

CREDENTIALS = """\
-----BEGIN NATS USER JWT-----
{jwt}
------END NATS USER JWT------

************************* IMPORTANT *************************
NKEY Seed printed below can be used to sign and prove identity.

-----BEGIN USER NKEY SEED-----
{seed}
------END USER NKEY SEED------
"""


@dataclass(frozen=True)
class Key:
    """An nkey of one kind, fresh."""

    kind: int
    seed: bytes = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "seed", nkeys.encode_seed(secrets.token_bytes(32), self.kind))

    @property
    def public(self) -> str:
        return str(nkeys.from_seed(bytearray(self.seed)).public_key.decode())

    def token(self, subject: "Key", claims: dict[str, Any], **more: Any) -> str:
        """A JWT about another key, signed by this one."""
        head = {"typ": "JWT", "alg": "ed25519-nkey"}
        body = {"jti": secrets.token_hex(16), "iat": 1_700_000_000, "iss": self.public, "sub": subject.public}
        parts = [
            _encoded(json.dumps(part).encode()) for part in (head, body | {"nats": claims | {"version": 2}} | more)
        ]
        text = ".".join(parts)
        return f"{text}.{_encoded(nkeys.from_seed(bytearray(self.seed)).sign(text.encode()))}"


class Operator:
    """An operator with one account that may use JetStream, and one for the system."""

    def __init__(self) -> None:
        self.key = Key(nkeys.PREFIX_BYTE_OPERATOR)
        self.account, self.system = Key(nkeys.PREFIX_BYTE_ACCOUNT), Key(nkeys.PREFIX_BYTE_ACCOUNT)

    @property
    def config(self) -> str:
        """What a nats-server needs to know."""
        operator = self.key.token(self.key, {"type": "operator", "system_account": self.system.public})
        account = self.key.token(self.account, {"type": "account", "limits": UNLIMITED | JETSTREAM}, name="A")
        system = self.key.token(self.system, {"type": "account", "limits": UNLIMITED}, name="SYS")
        return (
            f"operator: {operator}\nsystem_account: {self.system.public}\nresolver: MEMORY\n"
            f"resolver_preload: {{ {self.account.public}: {account}, {self.system.public}: {system} }}\n"
        )

    def credentials(self, expires: int = 0) -> str:
        """The content of a credentials file for a new user of the account; expires: Unix seconds, 0 for never."""
        user = Key(nkeys.PREFIX_BYTE_USER)
        more = {"exp": expires} if expires else {}
        jwt = self.account.token(user, {"type": "user", "subs": -1, "data": -1, "payload": -1}, name="pod", **more)
        return CREDENTIALS.format(jwt=jwt, seed=user.seed.decode())


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
