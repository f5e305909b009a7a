"""Takes out of a text what looks like a token or a password (I33).

Words of the cloud pass here where they come in, for they end in statuses and events; log lines pass where they go out.
"""

from __future__ import annotations

import re

#: X-Auth-Token, auth_password, application_credential_secret ...: by how they end, for what stands before them stays
_WORDS = r"(?:token|password|passwd|secret|authorization)"
# each looks at a text once, however long its words are: a cloud, or a proxy before it, may answer with megabytes
_SECRETS = (
    re.compile(
        rf"""(?i)({_WORDS}["']?\s*[:=]\s*)(?:bearer\s+|basic\s+)?"""
        r"""(?!\[redacted\])("[^"]*"|'[^']*'|[^\s,;&}\]]+)"""
    ),
    # a URL with a password in it
    re.compile(r"(://[^/\s:@]+:)([^@\s/]+)(?=@)"),
    # Keystone's Fernet tokens and JSON Web Tokens
    re.compile(r"()(\bgAAAA[\w=-]{20,}|\beyJ[\w-]{10,1024}\.[\w-]+\.[\w-]*)"),
)


def redact(text: str) -> str:
    """The text with `[redacted]` in place of each secret. Belt and braces: nothing tells one on purpose."""
    for pattern in _SECRETS:
        text = pattern.sub(r"\1[redacted]", text)
    return text
