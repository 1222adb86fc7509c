"""The settings room: what is accepted, and the sentence that each mistake gets."""

import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from ssecast.events import PARAMETERS
from ssecast.settings import (
    JWT_ALGORITHMS,
    QUERY_NAMES_TAKEN,
    VARIABLES,
    Settings,
    SettingsError,
    described,
    granted_cores,
    load_settings,
)


def sentences(**values: str) -> list[str]:
    """What load_settings has against these variables, named without their prefix."""
    try:
        load_settings({f"SSECAST_{name}": value for name, value in values.items()})
    except SettingsError as wrong:
        return wrong.sentences
    return []


def settings(**values: str) -> Settings:
    return load_settings({f"SSECAST_{name}": value for name, value in values.items()})


def test_an_empty_environment_gives_the_defaults() -> None:
    """Every setting has a default, and those that others rely on are among them."""
    found = load_settings({"PATH": "/bin"})
    assert (found.port, found.admin_port, found.subjects, found.stream) == (8080, 9090, ("events.>",), "ssecast")
    assert (found.stream_max_bytes, found.log_max_bytes, found.max_payload_bytes) == (2**30, 2**26, 2**20)
    assert (found.max_streams, found.overload, found.slow_client) == (10_000, "retry", "disconnect")
    assert (found.publish, found.page, found.nats_creds_file) == (False, False, None)
    assert 1 <= found.flush_threads <= 4


def test_only_the_environment_handed_over_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process's own environment has no say where another one is given."""
    monkeypatch.setenv("SSECAST_PORT", "1234")
    assert load_settings({}).port == Settings().port == 8080
    assert load_settings(os.environ).port == 1234


def test_settings_are_frozen() -> None:
    """Nobody can change a setting after the start."""
    with pytest.raises(ValidationError):
        load_settings({}).port = 1


def test_every_setting_says_what_it_is() -> None:
    """Each variable has a default, a description that is a sentence, and a unit where its name ends in one."""
    table = {name: (default, text) for name, default, text in described()}
    assert list(table) == list(VARIABLES)
    for name, (default, text) in table.items():
        assert default, name
        assert text.endswith("."), name
        for ending, unit in (("_SECONDS", "seconds"), ("_MS", "milliseconds"), ("_BYTES", "bytes")):
            assert default.endswith(f" {unit}") or not name.endswith(ending), name


def test_every_default_is_one_that_the_environment_could_give() -> None:
    """What help prints as default can be written into the environment and means the same."""
    written = {name: default.split(" ")[0] for name, default, _ in described() if default != "none"}
    assert load_settings(written) == load_settings({})


@pytest.mark.parametrize(
    ("text", "size"), [("131072", 131_072), ("64Mi", 2**26), ("1Gi", 2**30), ("8Ki", 8192), ("2M", 2_000_000)]
)
def test_sizes_take_suffixes(text: str, size: int) -> None:
    """Byte sizes are plain numbers or Kubernetes quantities."""
    assert settings(LOG_MAX_BYTES=text).log_max_bytes == size


def test_subjects_are_reduced() -> None:
    """A subject that another one contains is dropped, and white space around commas does not count."""
    assert settings(SUBJECTS="events.>, events.a ,other.*").subjects == ("events.>", "other.*")


def test_an_empty_stream_means_core_nats_and_an_empty_file_none() -> None:
    """Charts render what is not set as an empty string."""
    found = settings(STREAM="", NATS_CREDS_FILE="")
    assert (found.stream, found.nats_creds_file) == ("", None)


def test_several_nats_servers_are_kept_in_order_without_spaces() -> None:
    """NATS_URL is a comma list."""
    assert settings(NATS_URL="nats://a:4222, tls://b").nats_url == "nats://a:4222,tls://b"


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("PORT", "eighty", "SSECAST_PORT='eighty' is not allowed: it must be a whole number from 1 to 65535."),
        ("PORT", "", "SSECAST_PORT='' is not allowed: it must be a whole number from 1 to 65535."),
        ("PORT", "0", "SSECAST_PORT='0' is not allowed: it must be a whole number from 1 to 65535."),
        ("HOST", "", "SSECAST_HOST='' is not allowed: it must be an address to listen on."),
        ("OVERLOAD", "drop", "SSECAST_OVERLOAD='drop' is not allowed: it must be retry or 503."),
        ("SLOW_CLIENT", "wait", "SSECAST_SLOW_CLIENT='wait' is not allowed: it must be disconnect or skip."),
        ("STREAM_STORAGE", "disk", "SSECAST_STREAM_STORAGE='disk' is not allowed: it must be file or memory."),
        ("PAGE", "maybe", "SSECAST_PAGE='maybe' is not allowed: it must be true or false."),
        (
            "HEARTBEAT_SECONDS",
            "inf",
            "SSECAST_HEARTBEAT_SECONDS='inf' is not allowed: it must be a number from 0.1 to 86400 seconds.",
        ),
        (
            "STREAM_MAX_AGE_SECONDS",
            "nan",
            "SSECAST_STREAM_MAX_AGE_SECONDS='nan' is not allowed: it must be a number from 0.1 to 31622400 seconds.",
        ),
        (
            "LOG_MAX_BYTES",
            "64MB",
            "SSECAST_LOG_MAX_BYTES='64MB' is not allowed (it is not a size): "
            "it must be a size in bytes, plain or such as 64Mi or 1Gi, of at least 1.",
        ),
        (
            "SUBJECTS",
            "a..b",
            "SSECAST_SUBJECTS='a..b' is not allowed (the subject 'a..b' has an empty token (two dots, or a dot at an "
            "end)): it must be a comma list of NATS subjects without overlap, such as events.>.",
        ),
        (
            "SUBJECTS",
            "",
            "SSECAST_SUBJECTS='' is not allowed (the subject '' is empty): "
            "it must be a comma list of NATS subjects without overlap, such as events.>.",
        ),
        (
            "SUBJECTS",
            "a.*,*.b",
            "SSECAST_SUBJECTS='a.*,*.b' is not allowed (some subjects match both '*.b' and 'a.*'): "
            "it must be a comma list of NATS subjects without overlap, such as events.>.",
        ),
        (
            "STREAM",
            "a.b",
            "SSECAST_STREAM='a.b' is not allowed (a stream name has no white space, dot, wildcard or slash and at most "
            "255 characters): it must be the name of a JetStream stream, or empty for core NATS.",
        ),
        (
            "NATS_URL",
            "localhost:4222",
            "SSECAST_NATS_URL='localhost:4222' is not allowed (each address needs nats:// or tls:// and a host): "
            "it must be a comma list of addresses such as nats://host:4222.",
        ),
        (
            "NATS_CA_FILE",
            "/no/such/file",
            "SSECAST_NATS_CA_FILE='/no/such/file' is not allowed (cannot read it: No such file or directory): "
            "it must be the path of a file that can be read.",
        ),
        (
            "CORS_ORIGINS",
            "https://a/",
            "SSECAST_CORS_ORIGINS='https://a/' is not allowed ('https://a/' is not written as browsers write an origin): "
            "it must be a comma list of origins such as https://app.example.com, or *.",
        ),
        (
            "JWT_KEY_FILE",
            "/no/such/file",
            "SSECAST_JWT_KEY_FILE='/no/such/file' is not allowed (cannot read it: No such file or directory): "
            "it must be the path of a file that can be read.",
        ),
        (
            "JWKS_URL",
            "login.example.com/keys",
            "SSECAST_JWKS_URL='login.example.com/keys' is not allowed (it needs http:// or https:// and a host): "
            "it must be an address such as https://login.example.com/.well-known/jwks.json.",
        ),
        (
            "JWKS_URL",
            "https://me:hunter2@login.example.com/keys",
            "SSECAST_JWKS_URL=(not shown) is not allowed: "
            "it must be an address such as https://login.example.com/.well-known/jwks.json.",
        ),
        (
            "JWT_ALGORITHMS",
            "ES256,none",
            "SSECAST_JWT_ALGORITHMS='ES256,none' is not allowed ('none' is not one of them): it must be a comma list of "
            + ", ".join(JWT_ALGORITHMS)
            + ".",
        ),
        (
            "JWT_LEEWAY_SECONDS",
            "3600",
            "SSECAST_JWT_LEEWAY_SECONDS='3600' is not allowed: it must be a number from 0 to 300 seconds.",
        ),
        (
            "JWT_COOKIE",
            "my cookie",
            "SSECAST_JWT_COOKIE='my cookie' is not allowed (a cookie's name has letters, digits and punctuation without "
            "brackets, quotes, commas and =): it must be the name of a cookie.",
        ),
        (
            "JWT_QUERY",
            "_token",
            "SSECAST_JWT_QUERY='_token' is not allowed (it begins with a letter and goes on with letters, digits, dots, "
            "dashes and underscores): it must be the name of a query parameter that is not yet taken.",
        ),
        (
            "JWT_QUERY",
            "subject",
            "SSECAST_JWT_QUERY='subject' is not allowed (it is a parameter of /events): "
            "it must be the name of a query parameter that is not yet taken.",
        ),
        (
            "FORWARDED_ALLOW_IPS",
            "proxy",
            "SSECAST_FORWARDED_ALLOW_IPS='proxy' is not allowed ('proxy' does not appear to be an IPv4 or IPv6 "
            "network): it must be a comma list of IP addresses and networks, or *.",
        ),
        (
            "FORWARDED_ALLOW_IPS",
            "10.0.0.1/8",
            "SSECAST_FORWARDED_ALLOW_IPS='10.0.0.1/8' is not allowed (10.0.0.1/8 has host bits set): "
            "it must be a comma list of IP addresses and networks, or *.",
        ),
        (
            "FORWARDED_ALLOW_IPS",
            "10.0.0.1,*",
            "SSECAST_FORWARDED_ALLOW_IPS='10.0.0.1,*' is not allowed (* stands alone): "
            "it must be a comma list of IP addresses and networks, or *.",
        ),
    ],
)
def test_a_wrong_value_gets_its_sentence(name: str, value: str, sentence: str) -> None:
    """One sentence names the variable, the value and what is allowed."""
    assert sentences(**{name: value}) == [sentence]


def test_every_wrong_value_is_named_at_once() -> None:
    """Nobody has to start the pod once per mistake."""
    found = sentences(PORT="x", OVERLOAD="y", NO_SUCH_THING="z")
    assert [sentence.split("=")[0].split()[0] for sentence in found] == [
        "SSECAST_NO_SUCH_THING",
        "SSECAST_PORT",
        "SSECAST_OVERLOAD",
    ]


def test_a_long_value_is_cut() -> None:
    """A sentence stays one that can be read."""
    [sentence] = sentences(MAX_STREAMS="9" * 5000)
    assert len(sentence) < 250


def test_an_unknown_name_is_told_its_nearest() -> None:
    """A misspelt setting must not silently leave the default in force."""
    assert sentences(HARTBEAT_SECONDS="1") == [
        "SSECAST_HARTBEAT_SECONDS is not a setting; the nearest is SSECAST_HEARTBEAT_SECONDS."
    ]
    assert sentences(QQQQQQQQQ="1") == ["SSECAST_QQQQQQQQQ is not a setting; `ssecast serve --help` lists them."]


def test_names_are_written_in_capitals() -> None:
    """A name in small letters is unknown, not ignored."""
    with pytest.raises(SettingsError, match="ssecast_port is not a setting; the nearest is SSECAST_PORT"):
        load_settings({"ssecast_port": "1"})


def test_service_links_of_kubernetes_are_ignored() -> None:
    """A Service named ssecast, or ssecast-something, puts its address into every pod's environment."""
    for service in ("SSECAST", "SSECAST_NATS", "SSECAST_ADMIN"):
        links = {
            f"{service}_SERVICE_HOST": "10.0.0.1",
            f"{service}_SERVICE_PORT": "80",
            f"{service}_SERVICE_PORT_HTTP": "80",
            f"{service}_PORT_80_TCP": "tcp://10.0.0.1:80",
            f"{service}_PORT_80_TCP_PROTO": "tcp",
            f"{service}_PORT_80_TCP_PORT": "80",
            f"{service}_PORT_80_TCP_ADDR": "10.0.0.1",
        }
        assert load_settings(links) == load_settings({})
    assert load_settings({"SSECAST_NATS_PORT": "tcp://10.0.0.1:4222"}) == load_settings({})


@pytest.mark.parametrize("name", ["PORT", "ADMIN_PORT"])
def test_a_service_link_in_the_place_of_a_port_says_how_to_be_rid_of_it(name: str) -> None:
    """SSECAST_PORT is both a setting of ours and a link of Kubernetes."""
    [sentence] = sentences(**{name: "tcp://10.0.0.1:80"})
    assert sentence.startswith(f"SSECAST_{name}='tcp://10.0.0.1:80'")
    assert "enableServiceLinks: false" in sentence


def test_secrets_are_not_repeated() -> None:
    """Neither a password in an address, nor a credential pasted in the place of its path, nor an unknown value."""
    found = sentences(
        NATS_URL="nats://me:hunter2@:1",
        NATS_CREDS_FILE="-----BEGIN hunter2-----",
        NATS_KEY_FILE="hunter2",
        TOKEN="hunter2",
    )
    assert len(found) == 4
    assert not any("hunter2" in sentence for sentence in found)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "it holds no token"),
        ("hunter2", "it holds a token of less than 16 characters"),
        ("0123456789abcdef\n" * 3, "it holds 3 tokens"),
    ],
)
def test_a_token_file_without_a_usable_token_is_refused(tmp_path: Path, text: str, why: str) -> None:
    """Who sets it must not find out at the first drain; the tokens are not repeated."""
    file = tmp_path / "tokens"
    file.write_text(text)
    [sentence] = sentences(ADMIN_TOKEN_FILE=str(file))
    assert sentence.startswith("SSECAST_ADMIN_TOKEN_FILE=")
    assert sentence.endswith(
        f" is not allowed ({why}): it must be the path of a file with a token of at least 16 characters on each line, "
        "2 at most."
    )


def test_a_token_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """Neither none at all, nor a folder in its place; a good one is taken."""
    [missing] = sentences(ADMIN_TOKEN_FILE=str(tmp_path / "none"))
    assert "cannot read it: No such file or directory" in missing
    [folder] = sentences(ADMIN_TOKEN_FILE=str(tmp_path))
    assert "cannot read it: Is a directory" in folder
    (tmp_path / "tokens").write_text("0123456789abcdef\nfedcba9876543210\n")
    assert settings(ADMIN_TOKEN_FILE=str(tmp_path / "tokens")).admin_token_file == str(tmp_path / "tokens")


def test_a_key_needs_a_certificate_and_the_other_way_round(tmp_path: Path) -> None:
    """One without the other is named, both together are taken."""
    file = tmp_path / "pem"
    file.touch()
    assert sentences(NATS_KEY_FILE=str(file)) == ["SSECAST_NATS_KEY_FILE is set: it needs SSECAST_NATS_CERT_FILE too."]
    assert sentences(NATS_CERT_FILE=str(file)) == ["SSECAST_NATS_CERT_FILE is set: it needs SSECAST_NATS_KEY_FILE too."]
    assert settings(NATS_KEY_FILE=str(file), NATS_CERT_FILE=str(file)).nats_key_file == str(file)


def test_keys_come_from_one_place(tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.touch()
    assert sentences(JWT_KEY_FILE=str(file), JWKS_URL="https://a/keys") == [
        "SSECAST_JWT_KEY_FILE and SSECAST_JWKS_URL are both set: keys come from one place."
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JWT_ISSUER", "me"),
        ("JWT_AUDIENCE", "me"),
        ("JWT_ALGORITHMS", "ES256"),
        ("JWT_LEEWAY_SECONDS", "1"),
        ("JWT_COOKIE", "session"),
        ("JWT_QUERY", "token"),
    ],
)
def test_what_is_said_about_tokens_needs_keys(name: str, value: str) -> None:
    """Who sets an audience must not believe that tokens are checked."""
    assert sentences(**{name: value}) == [
        f"SSECAST_{name} is set: it needs SSECAST_JWT_KEY_FILE or SSECAST_JWKS_URL too."
    ]
    assert sentences(**{name: value, "JWKS_URL": "https://login.example.com/keys"}) == []
    assert len(sentences(**{name: value, "JWT_KEY_FILE": "/no/such/file"})) == 1, "one mistake, one sentence"


def test_cookies_need_origins_with_names() -> None:
    """A browser sends them to nobody else, so that `*` would look as if it worked and not work."""
    given = {"JWKS_URL": "https://a/keys", "JWT_COOKIE": "session"}
    [sentence] = sentences(**given, CORS_ORIGINS="*")
    assert sentence.startswith("SSECAST_JWT_COOKIE is set: SSECAST_CORS_ORIGINS must name origins then")
    assert sentences(**given, CORS_ORIGINS="https://a") == sentences(**given) == []


def test_lists_about_access_take_white_space_and_may_be_empty() -> None:
    """Charts render what is not set as an empty string."""
    empty = dict.fromkeys(
        [
            "CORS_ORIGINS",
            "JWT_KEY_FILE",
            "JWKS_URL",
            "JWT_ISSUER",
            "JWT_AUDIENCE",
            "JWT_ALGORITHMS",
            "JWT_COOKIE",
            "JWT_QUERY",
        ],
        "",
    )
    assert settings(**empty) == settings()
    found = settings(CORS_ORIGINS="https://a, https://b ,", JWT_ALGORITHMS=" ES256 ,RS256", JWKS_URL="http://a/keys")
    assert (found.cors_origins, found.jwt_algorithms) == (("https://a", "https://b"), ("ES256", "RS256"))


def test_the_parameters_of_events_are_those_that_a_token_may_not_take() -> None:
    assert set(QUERY_NAMES_TAKEN) == set(PARAMETERS)


def test_the_two_ports_differ_unless_their_addresses_do() -> None:
    """The second listener would fail with a message that names no setting."""
    assert sentences(PORT="9090") == ["SSECAST_PORT and SSECAST_ADMIN_PORT are both 9090: they must differ."]
    assert sentences(PORT="9090", HOST="127.0.0.2", ADMIN_HOST="127.0.0.1") == []


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "20000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "50000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": "nonsense"}, None),
        ({}, None),
    ],
)
def test_granted_cores_follow_the_quota(tmp_path: Path, files: dict[str, str], cores: int | None) -> None:
    """Both versions of cgroups are read; without a quota the affinity counts."""
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert granted_cores(tmp_path) == (cores or len(os.sched_getaffinity(0)))


def test_a_quota_above_the_affinity_grants_the_affinity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A fraction of a core counts as one more, but never beyond the cores that the scheduler allows."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1, 2}, raising=False)
    (tmp_path / "cpu.max").write_text("150000 100000")
    assert granted_cores(tmp_path) == 2
    (tmp_path / "cpu.max").write_text("900000 100000")
    assert granted_cores(tmp_path) == 3


def test_the_readme_lists_every_setting_with_its_default() -> None:
    readme = (Path(__file__).parents[2] / "service" / "README.md").read_text()
    for name, default, text in described():
        shown = "the cores granted, at most 4" if name == "SSECAST_FLUSH_THREADS" else default
        assert f"| `{name}` | {shown} | {text} |" in readme
