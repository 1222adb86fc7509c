"""address.py: servers and logins out of a setting, and errors as sentences that help and give nothing away."""

import errno
import socket
import ssl

import nats.errors
import pytest

from ssecast.address import Address, AddressError, Server


def test_an_address_is_read_as_other_nats_clients_read_it() -> None:
    """The port has a default, and logins are percent-decoded; a user alone is a token."""
    address = Address("nats://a, nats://b:5222,nats://user:p%40ss%2F@c,nats://t%3Aken@d")
    assert address.servers == (
        Server("a"),
        Server("b", 5222),
        Server("c", user="user", password="p@ss/"),
        Server("d", user="t:ken"),
    )


def test_no_login_is_in_a_label_or_an_url() -> None:
    """What is logged and what nats-py is given."""
    (server,) = Address("tls://user:secret@[::1]:4333").servers
    assert (server.label, server.url) == ("[::1]:4333", "tls://[::1]:4333")
    assert Address("nats://user:secret@a,nats://secret@b:1").hosts == "a:4222, b:1"


@pytest.mark.parametrize(
    "address",
    [Address("nats://a,tls://b"), Address("nats://a,nats://b", ca_file="ca"), Address("nats://a", cert_file="cert")],
    ids=["scheme", "ca", "certificate"],
)
def test_whatever_speaks_of_tls_asks_it_of_every_server(address: Address) -> None:
    """One plain address in the list must not be the way round it."""
    assert all(server.tls for server in address.servers)


def test_a_peer_opens_to_the_same_login_and_its_certificate_to_the_same_name() -> None:
    """A cluster tells addresses; certificates are made for names."""
    peer = Server("nats.example", tls=True, user="u", password="p").peer("10.0.0.7:4333")
    assert peer == Server("10.0.0.7", 4333, True, "u", "p", "nats.example")
    assert peer.peer("10.0.0.8:4222").tls_name == "nats.example"
    assert Server("a").peer("10.0.0.7:4222").tls_name is None
    assert Server("a").peer("[::1]:4222").label == "[::1]:4222"


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "Connection refused"),
        (socket.gaierror(socket.EAI_NONAME, "Name unknown"), "its name cannot be looked up: Name unknown"),
        (TimeoutError(), "no answer in time"),
        (TimeoutError("no answer within 5 s"), "no answer within 5 s"),
        (nats.errors.UnexpectedEOF(), "it was closed from the other side"),
        (nats.errors.StaleConnectionError(), "it has not answered pings"),
        (nats.errors.Error("nats: 'Maximum Connections Exceeded'"), "'Maximum Connections Exceeded'"),
        (RuntimeError(), "RuntimeError"),
    ],
)
def test_an_error_is_a_sentence_without_pythons_numbers(error: Exception, sentence: str) -> None:
    """Whoever reads it at night knows what to look at."""
    assert Address("nats://a").why(error) == sentence


def test_a_refused_login_names_both_settings_that_may_be_wrong() -> None:
    """NATS says the same of a wrong password and of wrong credentials."""
    said = Address("nats://u:secret@a").why(nats.errors.Error("nats: 'Authorization Violation'"))
    assert "SSECAST_NATS_CREDS_FILE" in said
    assert "SSECAST_NATS_URL" in said
    assert "secret" not in said


def test_an_error_of_tls_is_told_in_openssls_words() -> None:
    """Without the file and line of Python's C code that it comes with."""
    wrong = ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number (_ssl.c:1006)")
    assert Address("tls://a").why(wrong) == "TLS failed: wrong version number"


def test_a_file_that_has_gone_is_named() -> None:
    """Files are read at each connection: one that was there at the start may be missing later."""
    with pytest.raises(AddressError, match=r"SSECAST_NATS_CA_FILE \(/gone\).*No such file"):
        Address("tls://a", ca_file="/gone").tls_context()
    with pytest.raises(AddressError, match=r"SSECAST_NATS_CREDS_FILE \(/gone\).*No such file"):
        Address("nats://a", creds_file="/gone").credentials()
