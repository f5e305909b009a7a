"""The forms in which servers, proxies and libraries repeat what they were sent."""

from __future__ import annotations

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus


def _hex_of_each(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in text.encode())


#: by what the text then is
ENCODINGS: dict[str, Callable[[str], str]] = {
    "as it is": lambda secret: f"refused: {secret} is no valid secret",
    "in JSON": lambda secret: json.dumps({"auth": {"what": secret}}),
    "in JSON within JSON, as an API gateway logs a request": lambda secret: json.dumps(
        {"body": json.dumps({"auth": {"what": secret}})}
    ),
    "in JSON within JSON within JSON": lambda secret: json.dumps([json.dumps([json.dumps([secret])])]),
    "as Python prints a dictionary": lambda secret: repr({"what": secret}),
    "as Python prints bytes": lambda secret: repr(secret.encode()),
    "in the path of a URL": lambda secret: f"GET /v3/auth/{quote(secret, safe='')}/tokens",
    "in the query of a URL": lambda secret: f"GET /v3?what={quote_plus(secret)}&more=1",
    "in a URL within a URL": lambda secret: f"GET /?next={quote(f'/v3?what={quote_plus(secret)}', safe='')}",
    "percent-encoded, every character": lambda secret: "".join(f"%{byte:02x}" for byte in secret.encode()),
    "in HTML": lambda secret: f"<p>{html.escape(secret)}</p>",
    "in HTML, every character by its number": lambda secret: "".join(f"&#{ord(char)};" for char in secret),
    "in JSON, every character escaped": lambda secret: "".join(
        f"\\u{half:04X}" for half in memoryview(secret.encode("utf-16-le")).cast("H")
    ),
    "as escaped bytes": _hex_of_each,
    "in base64": lambda secret: base64.b64encode(secret.encode()).decode(),
    "in base64 behind a user's name, as a Basic header": lambda secret: (
        f"Basic {base64.b64encode(f'admin:{secret}'.encode()).decode()}"
    ),
    "in URL-safe base64 within JSON": lambda secret: base64.urlsafe_b64encode(
        json.dumps({"k": 1, "what": secret}).encode()
    ).decode(),
    "in base64 within a URL": lambda secret: (
        f"?state={quote(base64.b64encode(f'xy{secret}'.encode()).decode(), safe='')}"
    ),
    "in capitals": str.upper,
    "in small letters": str.lower,
    "in hexadecimal digits": lambda secret: secret.encode().hex(),
    "cut off at its end, as Nova cuts a fault's text": lambda secret: f"cannot authenticate {secret[:-2]}",
}

SECRETS_OF_MANY_SHAPES = {
    "letters and digits": "S3CRET7app7cred",
    "quotes and backslashes": "S3C\"RET\\7'app/cred",
    "blanks, percents, ampersands": "S3C RET%41&app+cred=7",
    "other scripts": "S3CRÉT-пароль-7😀",
}


def traces(secret: str) -> list[str]:
    """What must not be found in a text that hides the secret: longer parts of it in the usual forms."""
    utf8 = secret.encode()
    in_base64 = [base64.b64encode(b"\0" * offset + utf8).decode()[4:12] for offset in range(3)]
    return [secret[:7], secret[-7:], utf8.hex()[:14], quote(secret)[:9], json.dumps(secret)[1:9], *in_base64]
