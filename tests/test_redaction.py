"""What looks like a secret is taken out of a text, and nothing else."""

from __future__ import annotations

import pytest

from vmferry.redaction import redact

SECRETS = {
    "a header": "X-Auth-Token: gAAAAABsecretsecretsecret",
    "a bearer token": "{'Authorization': 'Bearer s3cret'}",
    "a bare bearer token": "authorization: Bearer s3cret",
    "a password in a mapping": '{"password": "s3cret", "user": "admin"}',
    "a password in a URL": "cannot reach http://admin:s3cret@keystone:5000/v3",
    "a Fernet token anywhere": "got gAAAAABs3cret_s3cret-s3cret_s3cret back",
    "a web token anywhere": "got eyJhbGciOiJSUzI1NiIs.s3cretpayload.s3cretsig back",
    "an application credential": "application_credential_secret=s3cret",
}


@pytest.mark.parametrize("text", SECRETS.values(), ids=SECRETS.keys())
def test_I33_a_secret_is_taken_out(text: str) -> None:
    assert "s3cret" not in redact(text)
    assert "gAAAA" not in redact(text)
    assert "[redacted]" in redact(text)
    assert redact(redact(text)) == redact(text), "what comes in redacted goes out once more"


@pytest.mark.parametrize("text", ["the server is in state ACTIVE", "request req-1: 409 server is locked"])
def test_other_text_stays(text: str) -> None:
    assert redact(text) == text


@pytest.mark.parametrize("word", ["a", "a-", "eyJ-", "token ", "a://", "a.", "gAAAA-", "token_"])
def test_a_long_text_of_the_cloud_takes_no_longer_than_its_length(word: str) -> None:
    """What reads such a text again from each of its characters takes minutes for this one, and a whole look hangs."""
    text = word * (300_000 // len(word))
    assert "hunter2" not in redact(f"{text} password=hunter2")
