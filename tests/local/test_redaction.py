"""Secrets in streams, whole and in pieces."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from components.redaction import Redactor

_SECRETS = ["s3cr3t.*+?(", "s3cr3t-the-longer", "päss\nwörd on two lines", 'quo"te\\']
_WORDS = st.lists(st.sampled_from([*_SECRETS, "s3", "s3cr3t", "plain ", "\n", "[secret]", "päss\n"]), max_size=12)


@given(_WORDS, st.integers(1, 9))
def test_no_secret_gets_through_however_the_stream_is_cut(words: list[str], size: int) -> None:
    redactor = Redactor(_SECRETS)
    data = "".join(words).encode()
    out = b"".join(redactor.feed(data[start : start + size]) for start in range(0, len(data), size))
    out += redactor.flush()
    assert not [secret for secret in _SECRETS if secret.encode() in out]
    # What isn't secret is all there (the end of a stream may look like half a secret, and then it isn't).
    kept = "".join(word for word in words if word not in _SECRETS)
    if not any(secret in kept for secret in _SECRETS):
        assert out.count(b"plain ") == words.count("plain ")


def test_what_is_only_the_beginning_of_a_secret_is_shown_once_it_goes_on_otherwise() -> None:
    redactor = Redactor(["abcdef"])
    assert redactor.feed(b"1 abc") == b"1 "
    assert redactor.feed(b"xyz") == b"abcxyz"
    assert redactor.feed(b" abcdef abcd") == b" [secret] "
    assert redactor.flush() == b"[secret]"


def test_forms_of_a_secret() -> None:
    redactor = Redactor(["-----BEGIN-----\nbase64base64\n-----END-----", 'a"b\\c'])
    # A tool that prints a key line by line, with its own prefix; and a JSON log.
    assert redactor.text("key: base64base64\r\n") == "key: [secret]\r\n"
    assert redactor.text('{"token": "a\\"b\\\\c"}') == '{"token": "[secret]"}'
    assert Redactor([]).text("nothing") == "nothing"
    assert Redactor(["", "e", "secret"]).text("secret tee") == "[secret] t[secret][secret]"
