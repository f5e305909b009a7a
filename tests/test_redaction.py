"""What is a secret, or looks like one, is taken out of a text, and nothing else."""

from __future__ import annotations

import logging
import time

import pytest

from tests.security.encodings import ENCODINGS, SECRETS_OF_MANY_SHAPES, traces
from vmferry.redaction import MOST, SECRETS, Secrets, redact

LOOK_LIKE_SECRETS = {
    "a header": "X-Auth-Token: gAAAAABsecretsecretsecret",
    "a header as a tuple": "[('X-Auth-Token', 's3cret')]",
    "a bearer token": "{'Authorization': 'Bearer s3cret'}",
    "a bare bearer token": "authorization: Bearer s3cret",
    "a bearer token without a key": "sent Bearer s3cret0123456789s3cret",
    "a password in a mapping": '{"password": "s3cret", "user": "admin"}',
    "a password in a mapping of a JSON text": r'{"body": "{\"password\": \"s3cret\", \"user\": 1}"}',
    "a password with an escaped quote in JSON in JSON": r"{\\\"password\\\": \\\"s3cret\\\"}",
    "a password in a URL": "cannot reach http://admin:s3cret@keystone:5000/v3",
    "a password with an at sign in a URL": "cannot reach http://admin:s3@s3cret@keystone:5000/v3",
    "a password in a query": "GET /v3?user=admin&password=s3cret&x=1",
    "a password in an encoded query": "GET /?next=%3Fpassword%3Ds3cret%26x",
    "a password in XML": "<password>s3cret</password>",
    "a password in HTML": "&lt;password&gt;s3cret&lt;/password&gt;",
    "a password in YAML": "auth:\n  password: s3cret\n",
    "a password by an arrow": ":password=>'s3cret'",
    "Nova's password": "adminPass=s3cret",
    "a passcode": "passcode: s3cret",
    "a key without a value before it": "token= password: s3cret",
    "a key": "api_key=s3cret",
    "a Fernet token anywhere": "got gAAAAABs3cret_s3cret-s3cret_s3cret back",
    "a web token anywhere": "got eyJhbGciOiJSUzI1NiIs.s3cretpayload.s3cretsig back",
    "an application credential": "application_credential_secret=s3cret",
    "a private key": "-----BEGIN RSA PRIVATE KEY-----\ns3cret\n-----END RSA PRIVATE KEY-----",
    "the beginning of a private key": "-----BEGIN PRIVATE KEY-----\ns3cret",
}


@pytest.mark.parametrize("text", LOOK_LIKE_SECRETS.values(), ids=LOOK_LIKE_SECRETS.keys())
def test_I33_a_secret_is_taken_out(text: str) -> None:
    assert "s3cret" not in redact(text)
    assert "gAAAA" not in redact(text)
    assert "[redacted]" in redact(text)
    assert redact(redact(text)) == redact(text), "what comes in redacted goes out once more"


@pytest.mark.parametrize(
    "text",
    [
        "the server is in state ACTIVE",
        "request req-1: 409 server is locked",
        "cannot log in: Unauthorized",
        r"C:\path %41 &amp; \u0041 stays as it was",
        "vmferry HostMaintenance cmp1 1111-2222: firmware",
    ],
)
def test_other_text_stays(text: str) -> None:
    SECRETS.add("hunter2hunter2", "pä/ss word")
    assert redact(text) == text


@pytest.mark.parametrize(
    "word",
    [
        *("a", "a-", "eyJ-", "token ", "a://", "a.", "gAAAA-", "token_"),
        *('token="', "\\", "%25", "&amp;", "\\u0041", "S3CRET"),
    ],
)
def test_a_long_text_of_the_cloud_takes_no_longer_than_its_length(word: str) -> None:
    """What reads such a text again from each of its characters takes minutes for this one, and a whole look hangs."""
    SECRETS.add(*(f"S3CRET-{number}-{number * 7919}" for number in range(20)))
    text = word * (300_000 // len(word))
    begun = time.process_time()
    assert "hunter2" not in redact(f"{text} password=hunter2")
    short = time.process_time() - begun
    begun = time.process_time()
    redact(text * 30)
    # of a text of any length only the beginning is read
    assert time.process_time() - begun < 10 * short + 0.05


def test_of_a_long_text_the_beginning_is_kept() -> None:
    assert redact("x" * (MOST + 7)) == "x" * MOST + "… (7 more characters)"


@pytest.mark.parametrize("secret", SECRETS_OF_MANY_SHAPES.values(), ids=SECRETS_OF_MANY_SHAPES.keys())
@pytest.mark.parametrize("written", ENCODINGS.values(), ids=ENCODINGS.keys())
def test_I33_a_known_secret_is_hidden_in_every_encoding(secret: str, written: object) -> None:
    assert callable(written)
    known = Secrets()
    text = f"the cloud says {written(secret)} for request req-1"
    if written is ENCODINGS["cut off at its end, as Nova cuts a fault's text"]:
        text = f"the cloud says {written(secret)}"
    assert known.hide(text) == text, "nothing is known yet"
    known.add(secret)
    hidden = known.hide(text)
    assert "[redacted]" in hidden
    assert not [trace for trace in traces(secret) if trace in hidden], hidden
    assert hidden.startswith("the cloud says ")


def test_what_is_not_public_in_auth_is_a_secret() -> None:
    known = Secrets()
    auth = {
        "auth_url": "https://keystone.example:5000/v3",
        "username": "administrator",
        "user_domain_name": "Default-domain",
        "project_id": "0123456789abcdef",
        "application_credential_id": "fedcba9876543210",
        "application_credential_secret": "app-cred-1",
        "password": "pass-word-2",
        "passcode": 777123,
        "token": "tok-en-3",
        "client_secret": "client-4",
        "an_option_of_next_year": "unknown-5",
    }
    known.add_auth(auth)
    hidden = known.hide(" | ".join(map(str, auth.values())))
    for value in ("keystone.example", "administrator", "Default-domain", "0123456789abcdef", "fedcba9876543210"):
        assert value in hidden
    for value in ("app-cred-1", "pass-word-2", "777123", "tok-en-3", "client-4", "unknown-5"):
        assert value not in hidden


def test_a_short_secret_is_hidden_where_it_stands_as_a_value_only(caplog: pytest.LogCaptureFixture) -> None:
    known = Secrets()
    with caplog.at_level(logging.WARNING):
        known.add("cat", "a")
    assert "too short" in caplog.text and "cat" not in caplog.text
    assert known.hide("a category, the cat") == "a category, the cat"
    assert known.hide("{'what': 'cat'} x=cat, y: cat") == "{'what': '[redacted]'} x=[redacted], y: [redacted]"


def test_a_renewed_token_is_known_at_once_and_the_old_one_still() -> None:
    known, tokens = Secrets(), ["first-token"]
    known.add("the password")
    known.follow("cloud", lambda: tokens)
    assert known.hide("first-token") == "[redacted]"
    tokens[0] = "second-token"
    assert known.hide("first-token, second-token") == "[redacted], [redacted]"
    for number in range(1000):
        tokens[0] = f"token-number-{number}"
        known.hide("")
    assert known.hide("token-number-999, token-number-995") == "[redacted], [redacted]"
    assert len(known._known) < 20, "tokens are renewed for ever"
    assert known.hide("the password") == "[redacted]", "what was added is never forgotten"


def test_a_source_that_fails_hides_nothing_of_the_rest() -> None:
    known = Secrets()
    known.add("hunter2hunter2")
    known.follow("cloud", lambda: [][0])
    assert known.hide("hunter2hunter2") == "[redacted]"
