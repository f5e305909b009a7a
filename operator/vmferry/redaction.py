"""Removes secrets from text (I33): the secrets that this process knows, in all usual encodings, and similar text.

Text from OpenStack and Kubernetes is redacted where it is received, because it ends up in statuses and Events; log
records are redacted where they are written. This protects against servers, proxies and libraries that repeat a request.
A server that hides a credential on purpose (compressed, reversed, encrypted) is out of scope: it has the credential
anyway.
"""

from __future__ import annotations

import base64
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any
from urllib.parse import quote, quote_plus

REDACTED = "[redacted]"
#: a shorter secret is replaced only after a quote, `=` or `:`, because it may be part of ordinary words
SHORTEST = 6
#: maximum number of characters of a text; it limits the time for one text of the cloud
MOST = 32_768
#: maximum number of nested encodings that are decoded, such as JSON in a URL in JSON
LAYERS = 5
#: number of secrets remembered per source: tokens are renewed forever, and an old one stays valid for a while
REMEMBERED = 8
#: keys of `auth` in clouds.yaml whose values are not secret; all other values count as secrets
PUBLIC = re.compile(
    r"(?:.*_)?(?:id|name|url|endpoint|domain|scope|protocol|provider|type|path|algorithm)|username|mutual_auth"
)

_WORDS = (
    r"(?:token|passw(?:or)?d|passphrase|passcode|pwd|adminpass|secret|authorization|"
    r"api[-_]?key|private[-_]?key|access[-_]?key|set-cookie)"
)
# each takes linear time, however long the words of a text are
_PATTERNS = (
    re.compile(
        rf"""(?i)({_WORDS}(?:\\*["']|%22|&quot;|&\#34;)?\s*(?>=>|[:=>]|%3[ad]|&gt;|(?<=["'])\s*,)\s*)"""
        # no match for a key without a value, which is followed by another key
        rf"""(?:bearer\s+|basic\s+)?(?!\[redacted\]|[\w-]{{0,32}}{_WORDS}\s*[:=])"""
        r"""(?:(?P<quote>\\*["'])(?:(?!(?P=quote)).){0,2048}(?P=quote)|[^\s,;&<}\])]+)"""
    ),
    # URLs that contain a password
    re.compile(r"(://[^/\s:@]+:)(?!\[redacted\]@)[^\s/]+(?=@)"),
    # Keystone's Fernet tokens, JSON Web Tokens, private keys
    re.compile(r"()(?:\bgAAAA[\w=-]{20,}|(?<![\w-])eyJ[\w-]{10,}\.[\w-]+\.[\w-]*)"),
    re.compile(r"(?s)()-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----.*?(?:-----END [A-Z ]{0,20}PRIVATE KEY-----|\Z)"),
    re.compile(r"(?i)(\bbearer\s+)[\w.~+/=-]{16,}"),
)

_ESCAPE = re.compile(
    r"\\+(?:u(?P<u>[0-9a-fA-F]{4})|U(?P<U>[0-9a-fA-F]{8})|x(?P<x>[0-9a-fA-F]{2})|(?P<octal>[0-3][0-7]{2}))"
    r"|(?P<slashes>\\+)|%(?P<percent>[0-9a-fA-F]{2})"
    r"|&(?:\#(?P<decimal>[0-9]{1,7})|\#[xX](?P<hex>[0-9a-fA-F]{1,6})|(?P<name>quot|amp|lt|gt|apos));"
)
_NAMES = {"quot": '"', "amp": "&", "lt": "<", "gt": ">", "apos": "'"}
#: characters that JSON and Python write as a backslash and a letter
_LETTERS = str.maketrans({"\\": "", "\n": "n", "\r": "r", "\t": "t", "\b": "b", "\f": "f"})
#: what may follow a truncated secret; empty for the end of the text
_ENDS = ("", "\n", "\r", '"', "'", "\\", "…", ".")
_OF_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/-_=")

logger = logging.getLogger(__name__)

#: returns the secrets that are valid now, such as a token that a library renews
Source = Callable[[], Iterable[object]]


class Secrets:
    """The known secrets, and their removal from text. Thread-safe."""

    def __init__(self) -> None:
        self.forget_all()

    def forget_all(self) -> None:
        """Forget all secrets and sources."""
        #: each secret with the name of its source (None if it was added directly), the oldest first
        self._known: dict[str, str | None] = {}
        self._sources: dict[str, Source] = {}
        self._index = _Index(())

    def add(self, *values: object, source: str | None = None) -> None:
        """Hide these secrets from now on. Values other than non-empty text, bytes or integers are ignored."""
        found = {_text(value).strip() for value in values} - {""}
        new = found - self._known.keys()
        if not new:
            return
        for secret in new:
            self._known[secret] = source
        if source is not None:
            old = [secret for secret, of in list(self._known.items()) if of == source][:-REMEMBERED]
            for secret in old:
                self._known.pop(secret, None)
        while self._index.secrets != (known := tuple(self._known)):  # another thread may add a secret meanwhile
            self._index = _Index(known)
        if any(len(secret) < SHORTEST for secret in new):
            # the length is not logged, because it would help to guess the secret
            logger.warning("a secret of the configuration is too short to be hidden reliably in texts")

    def add_auth(self, auth: Mapping[str, Any] | None) -> None:
        """Hide the secrets in the `auth` of a clouds.yaml: all values whose keys are not `PUBLIC`."""
        self.add(*(value for name, value in (auth or {}).items() if not PUBLIC.fullmatch(str(name))))

    def follow(self, name: str, source: Source) -> None:
        """Call `source` before each text. It replaces a former source of that name, and must be fast."""
        self._sources[name] = source

    def hide(self, text: str) -> str:
        """The text with `[redacted]` in place of each known secret in any encoding."""
        for name, source in list(self._sources.items()):
            try:
                self.add(*source(), source=name)
            except Exception:  # noqa: S112 - the other secrets must be hidden nevertheless
                continue
        return self._index.hide(text)


class _Index:
    """Finds a fixed set of secrets in text."""

    def __init__(self, secrets: tuple[str, ...]) -> None:
        self.secrets = secrets
        #: every form of every secret, and whether it may be part of a longer word of base64 or hexadecimal digits
        self._forms: dict[str, bool] = {}
        #: secrets by their first `SHORTEST` characters
        self._begins: dict[str, list[str]] = {}
        self._longest = max(map(len, secrets), default=0)
        short = []
        for secret in secrets:
            if len(secret) >= SHORTEST:
                self._forms |= _forms(secret)
            elif len(secret) > 2:
                short.append(rf"""(?<=["'=:]){re.escape(secret)}(?!\w)|(?<=[=:] ){re.escape(secret)}(?!\w)""")
            if len(secret) > SHORTEST:
                self._begins.setdefault(secret[:SHORTEST], []).append(secret)
        longest_first = sorted(self._forms, key=len, reverse=True)
        self._any_form = _any_of([*map(re.escape, longest_first), *short])
        self._any_begin = _any_of(map(re.escape, self._begins))

    def hide(self, text: str) -> str:
        if self._any_form is None:
            return text
        layer, places = text, list(range(len(text) + 1)) if _ESCAPE.search(text) else None
        found: list[tuple[int, int]] = []
        for _ in range(LAYERS):
            spans = [*self._whole(layer, self._any_form), *self._cut_off(layer)]
            found += [(places[begin], places[end]) for begin, end in spans] if places else spans
            if places is None or (peeled := _peel(layer, places)) is None:
                break
            layer, places = peeled
        return _replaced(text, found) if found else text

    def _whole(self, text: str, pattern: re.Pattern[str]) -> Iterator[tuple[int, int]]:
        for match in pattern.finditer(text):
            inside = self._forms.get(match[0])
            yield _whole_word(text, *match.span()) if inside else match.span()

    def _cut_off(self, text: str) -> Iterator[tuple[int, int]]:
        """Spans of secrets truncated at the end of the text, a line or a quotation, as in Nova's fault texts."""
        for match in self._any_begin.finditer(text) if self._any_begin else ():
            rest = text[match.start() : match.start() + self._longest + 1]
            for secret in self._begins[match[0]]:
                length = next(
                    (at for at, (one, other) in enumerate(zip(secret, rest, strict=False)) if one != other),
                    min(len(secret), len(rest)),
                )
                if rest[length : length + 1] in _ENDS:
                    yield match.start(), match.start() + length


def _any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    joined = "|".join(patterns)
    return re.compile(joined) if joined else None


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    # YAML parses a password of digits as a number
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""


def _forms(secret: str) -> dict[str, bool]:
    """The forms of a secret in unescaped text (`_peel`), and whether a form may be part of a longer word."""
    utf8 = secret.encode("utf-8", "surrogatepass")
    utf16 = secret.encode("utf-16-le", "surrogatepass")
    halves = "".join(chr(int.from_bytes(utf16[at : at + 2], "little")) for at in range(0, len(utf16), 2))
    # unchanged, UTF-8 bytes read as Latin-1, UTF-16 surrogates, and `+` for blanks as in HTML forms
    plain = {secret, utf8.decode("latin-1"), halves, secret.replace(" ", "+")}
    for _ in range(LAYERS):
        # a secret that looks encoded itself is decoded as well
        plain |= {peeled[0] for one in plain if (peeled := _peel(one, list(range(len(one) + 1))))}
    forms = dict.fromkeys(plain | {one.translate(_LETTERS) for one in plain}, False)
    # some proxies convert text to lower or upper case
    forms |= dict.fromkeys([one.lower() for one in plain] + [one.upper() for one in plain], False)
    forms |= {utf8.hex(): True, utf8.hex().upper(): True}
    for written in {secret, json.dumps(secret)[1:-1], quote(secret, safe=""), quote_plus(secret)}:
        for offset in range(3):
            padded = base64.b64encode(b"\0" * offset + written.encode("utf-8", "surrogatepass")).decode()
            # the first and last characters also contain bits of the neighbouring text
            core = padded.rstrip("=")[(0, 2, 3)[offset] : -1]
            forms |= {core: True, core.replace("+", "-").replace("/", "_"): True}
    return {form: inside for form, inside in forms.items() if len(form) >= SHORTEST}


def _whole_word(text: str, begin: int, end: int) -> tuple[int, int]:
    while begin > 0 and text[begin - 1] in _OF_BASE64:
        begin -= 1
    while end < len(text) and text[end] in _OF_BASE64:
        end += 1
    return begin, end


def _peel(text: str, places: list[int]) -> tuple[str, list[int]] | None:
    """The text without one layer of escapes, and the original index of each character; None without any escape."""
    parts: list[str] = []
    new_places: list[int] = []
    at = 0
    for match in _ESCAPE.finditer(text):
        char = _unescaped(match)
        parts += text[at : match.start()], char
        new_places += places[at : match.start()]
        new_places += [places[match.start()]] * len(char)
        at = match.end()
    if at == 0:
        return None
    parts.append(text[at:])
    new_places += places[at:]
    return "".join(parts), new_places


def _unescaped(match: re.Match[str]) -> str:
    kind, value = str(match.lastgroup), match[str(match.lastgroup)]
    if kind == "slashes":
        return ""  # the next character is kept; the forms of secrets have no backslashes either
    if kind == "name":
        return _NAMES[value]
    number = int(value, {"octal": 8, "decimal": 10}.get(kind, 16))
    return chr(number) if number <= 0x10FFFF else ""


def _replaced(text: str, found: Iterable[tuple[int, int]]) -> str:
    parts: list[str] = []
    at = 0
    for begin, end in _merged(found):
        parts += text[at:begin], REDACTED
        at = end
    return "".join([*parts, text[at:]])


def _merged(found: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    begin = end = -1
    for one, other in sorted(found):
        if one > end:
            if end >= 0:
                yield begin, end
            begin, end = one, other
        end = max(end, other)
    if end >= 0:
        yield begin, end


#: the secrets of this process: every credential that it loads is added here
SECRETS = Secrets()


def redact(text: str) -> str:
    """The text with `[redacted]` in place of each secret, truncated to `MOST` characters."""
    cut = text[:MOST]
    cut = SECRETS.hide(cut)
    for pattern in _PATTERNS:
        cut = pattern.sub(r"\1[redacted]", cut)
    return cut if len(text) <= MOST else f"{cut}… ({len(text) - MOST} more characters)"
