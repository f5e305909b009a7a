"""Takes out of a text what looks like a token or a password (I33).

Words of the cloud pass here where they come in, for they end in statuses and events; log lines pass where they go out.
"""

from __future__ import annotations

import re

#: X-Auth-Token, auth_password, application_credential_secret ...
_WORDS = r"(?:[\w-]*(?:token|password|passwd|secret)|authorization)"
_SECRETS = (
    re.compile(
        rf"""(?i)(["']?\b{_WORDS}["']?\s*[:=]\s*)(?:bearer\s+|basic\s+)?"""
        r"""(?!\[redacted\])("[^"]*"|'[^']*'|[^\s,;&}\]]+)"""
    ),
    # a URL with a password in it
    re.compile(r"(\w+://[^/\s:@]+:)([^@\s/]+)(?=@)"),
    # Keystone's Fernet tokens and JSON Web Tokens
    re.compile(r"()(\bgAAAA[\w=-]{20,}|\beyJ[\w-]{10,}\.[\w-]+\.[\w-]*)"),
)


def redact(text: str) -> str:
    """The text with `[redacted]` in place of each secret. Belt and braces: nothing tells one on purpose."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1[redacted]", text)
    return text
