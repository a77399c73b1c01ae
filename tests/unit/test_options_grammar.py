"""The three spellings of QEMU's options, taken apart."""

from __future__ import annotations

import contextlib
import json
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wirebay.errors import OptionError
from wirebay.options.grammar import (
    OptionWarning,
    escape,
    last,
    parse_json,
    parse_keyval,
    parse_pairs,
)
from wirebay.options.netdev import parse_netdev

keys = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
texts = st.text(max_size=20)
# Text that is likely to hit the grammar: its own characters and words.
option_like = st.lists(
    st.sampled_from(
        [
            *(
                "user",
                "stream",
                "tap",
                "hubport",
                "id",
                "addr",
                "type",
                "net",
                "hostfwd",
                "restrict",
                "no",
                "help",
            ),
            *",=.:-/{}[]\"'\\0123 x\x00\ud800é",
        ]
    ),
    max_size=30,
).map("".join)


@given(st.lists(st.tuples(keys, texts)))
def test_pairs_survive_being_written_and_read(pairs: list[tuple[str, str]]) -> None:
    text = ",".join(f"{key}={escape(value)}" for key, value in pairs)
    assert parse_pairs(text) == pairs


@given(texts.filter(lambda text: "=" not in text and text != ""), texts)
def test_the_first_bare_word_is_the_type_in_both_spellings(first: str, second: str) -> None:
    text = f"{escape(first)},k={escape(second)}"
    assert parse_pairs(text) == [("type", first), ("k", second)]
    if not first.startswith(","):
        assert parse_keyval(text) == {"type": first, "k": second}


@given(st.dictionaries(keys, texts | st.dictionaries(keys, texts, min_size=1)))
def test_trees_survive_being_written_and_read(tree: dict[str, str | dict[str, str]]) -> None:
    flat = {
        f"{key}{dot}{inner}": value
        for key, branch in tree.items()
        for dot, inner, value in (
            [(".", *item) for item in branch.items()] if isinstance(branch, dict) else [("", "", branch)]
        )
    }
    assert parse_keyval(",".join(f"{key}={escape(value)}" for key, value in flat.items())) == tree


@given(texts, texts)
def test_json_strings_may_stand_in_either_quotes(key: str, value: str) -> None:
    standard = json.dumps({key: value})
    body = json.dumps(value)[1:-1].replace('\\"', '"').replace("'", "\\'")
    name = json.dumps(key)[1:-1].replace('\\"', '"').replace("'", "\\'")
    assert parse_json(standard) == {key: value}
    assert parse_json(f"{{'{name}': '{body}'}}") == {key: value}


@given(st.text() | option_like | option_like.map("{{{}".format))
def test_no_text_raises_anything_but_an_option_error(text: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OptionWarning)
        with contextlib.suppress(OptionError):
            parse_netdev(text)


def test_a_bare_word_after_the_first_is_a_boolean() -> None:
    with pytest.warns(
        OptionWarning, match="short-form boolean option 'restrict' deprecated, please use restrict=on"
    ):
        assert parse_pairs("user,restrict") == [("type", "user"), ("restrict", "on")]
    with pytest.warns(
        OptionWarning, match="short-form boolean option 'noipv6' deprecated, please use ipv6=off"
    ):
        assert parse_pairs("user,noipv6,x=1") == [("type", "user"), ("ipv6", "off"), ("x", "1")]


def test_a_trailing_comma_and_an_empty_option_are_nothing() -> None:
    assert parse_pairs("user,") == [("type", "user")]
    assert parse_pairs("") == []
    assert parse_keyval("stream,") == {"type": "stream"}


def test_of_repeated_keys_the_last_counts_but_of_ids_the_first() -> None:
    pairs = parse_pairs("user,id=a,net=x,id=b,net=y")
    assert last(pairs, "net") == "y"
    assert last(pairs, "id") == "a"
    assert last(pairs, "dns") is None
    assert parse_keyval("stream,id=a,id=b") == {"type": "stream", "id": "b"}


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("stream,id=s,server", "Expected '=' after parameter 'server'"),
        ("stream,=x", "Invalid parameter ''"),
        (",stream", "Invalid parameter ''"),
        ("stream,1=x", "Invalid parameter '1'"),
        ("stream,addr.=x", "Invalid parameter 'addr.'"),
        ("stream,addr..x=1", "Invalid parameter 'addr..x'"),
        ("stream,a b=1", "Invalid parameter 'a b'"),
        ("stream,foo bar", "Invalid parameter 'foo bar'"),
        ("stream,addr=x,addr.type=unix", "Parameters 'addr.*' used inconsistently"),
        ("stream,addr.type=unix,addr=x", "Parameters 'addr.*' used inconsistently"),
        (f"stream,{'a' * 128}=1", f"Parameter '{'a' * 128}' is too long"),
        (f"stream,x.{'a' * 128}=1", f"Parameter fragment '{'a' * 128}' is too long"),
    ],
)
def test_a_malformed_keyval_option_is_refused_in_qemus_words(text: str, sentence: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_keyval(text)
    assert str(caught.value) == sentence


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ('{"type":"user","id":"n"', "JSON parse error, Expecting ',' delimiter at character 24"),
        ('{"type":"user","type":"tap"}', "JSON parse error, duplicate key"),
        ("[]", "JSON parse error, an object is expected"),
        ('{"a":' * 100_000, "JSON parse error, maximum recursion depth exceeded"),
        ('{"a": ' + "9" * 5000 + "}", "JSON parse error, Exceeds the limit (4300 digits)"),
    ],
)
def test_malformed_json_is_refused_in_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(OptionError) as caught:
        parse_json(text)
    assert str(caught.value).startswith(sentence)
