"""What must not stand in a config in clear, and must never be shown: credentials, known by their form or by their name.

Also Pulumi's own mark of an encrypted value, ``{secure: <ciphertext>}``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

# Forms of credentials that are public knowledge: vendors print these prefixes so that scanners can find leaks.
_CREDENTIAL = re.compile(
    r"""(?:AKIA|ASIA)[0-9A-Z]{12,}
    | gh[pousr]_[0-9A-Za-z]{16,} | github_pat_\w{16,} | glpat-[\w-]{16,}
    | \bhf_[0-9A-Za-z]{16,}
    | \bsk-[\w-]{16,} | \bpul-[0-9a-f]{16,} | \bnpm_[0-9A-Za-z]{20,} | \bxox[abeprs]-[\w-]{10,}
    | AIza[\w-]{20,} | \bya29\.[\w-]{16,} | \bdop_v1_[0-9a-f]{16,} | \bnvapi-[\w-]{16,}
    | \beyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]+
    | -----BEGIN[ A-Z]*PRIVATE[ ]KEY
    | ://[^/\s:@]+:[^/\s@]+@
    | (?i:(?:password|passwd|secret|token|api[_-]?key|access[_-]?key)\s*=\s*[^\s;&]{6,})
    """,
    re.VERBOSE,
)
_SECRET_WORDS = re.compile(
    r"(?:^|_)(?:TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|API_?KEY|ACCESS_?KEY(?:_ID)?|PRIVATE_?KEY|SECRET_?KEY|AUTH_?KEY"
    r"|CREDENTIALS?|CREDS?)(?:_|$)",
    re.IGNORECASE,
)
# TOKEN_LIMIT or SECRET_NAME speak about a secret and are none.
_ABOUT_A_SECRET = re.compile(
    r"_(?:LIMIT|COUNT|FILE|PATH|DIR|NAME|URL|TTL|SIZE|LENGTH|BUDGET|TYPE|ENDPOINT|REGION|EXPIRY)$", re.IGNORECASE
)


def looks_like_credential(text: str) -> bool:
    """Whether a text has the form of a known kind of credential."""
    return bool(_CREDENTIAL.search(text))


def names_a_secret(name: str) -> bool:
    """Whether the name of an environment variable says that its value is a secret."""
    return bool(_SECRET_WORDS.search(name)) and not _ABOUT_A_SECRET.search(name)


def shown_key(name: object) -> str:
    """A key as it stands in a path; one that is itself a credential is not repeated."""
    text = str(name)
    return "(not shown)" if looks_like_credential(text) else text


def credentials_in(value: object, path: str) -> Iterator[str]:
    """The paths, at any depth, of texts and keys that look like credentials."""
    if isinstance(value, str):
        if looks_like_credential(value):
            yield path
    elif isinstance(value, Mapping):
        for key, child in value.items():
            where = f"{path}.{shown_key(key)}"
            if looks_like_credential(str(key)):
                yield where
            yield from credentials_in(child, where)
    elif isinstance(value, list):
        for index, child in enumerate(value):
            yield from credentials_in(child, f"{path}[{index}]")


def is_encrypted(value: object) -> bool:
    """Whether a value of a stack file is an encrypted one."""
    return isinstance(value, Mapping) and set(value) == {"secure"} and isinstance(value["secure"], str)


def holds_encrypted(value: object) -> bool:
    """Whether there is an encrypted value in it, at any depth."""
    if isinstance(value, Mapping):
        return is_encrypted(value) or any(holds_encrypted(child) for child in value.values())
    return isinstance(value, list) and any(holds_encrypted(child) for child in value)
