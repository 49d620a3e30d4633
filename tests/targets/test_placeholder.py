"""Texts and JSON values with placeholders."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.errors import ConfigError
from batchkit.targets.placeholder import Text, filled, gaps, parse_body

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
hostile = st.one_of(
    st.text(),
    st.sampled_from(
        ['"', '", "admin": true, "x": "', "\\", "\\\\", "\n\r\0", "{{b}}", "{{", "}}", "{{a}}{{b}}", "💥", "é"]
    ),
)


@given(a=json_values | hostile, b=json_values | hostile)
def test_values_alone_come_through_as_they_are(a: Any, b: Any) -> None:
    template = parse_body('{"first": {{a}}, "more": ["{{ b }}", {"deep": "{{a}}"}], "fixed": "x\\n\\"y"}', "body")
    sent = json.loads(json.dumps(filled(template, {"a": a, "b": b})))
    assert sent == {"first": a, "more": [b, {"deep": a}], "fixed": 'x\n"y'}


@given(a=hostile, b=hostile)
def test_values_inside_a_text_stay_text_and_are_not_read_again(a: str, b: str) -> None:
    template = parse_body({"text": "<{{a}}|{{b}}>"}, "body")
    assert json.loads(json.dumps(filled(template, {"a": a, "b": b}))) == {"text": f"<{a}|{b}>"}


def test_other_values_stand_inside_a_text_as_json_spells_them() -> None:
    text = Text.parse("{{a}} {{b}} {{c}} {{d}} {{e}}!", "x")
    assert text.fill({"a": True, "b": 1.5, "c": None, "d": {"é": [1]}}) == 'true 1.5  {"é": [1]} !'


def test_a_missing_value_takes_its_member_and_its_element_with_it() -> None:
    template = parse_body({"a": "{{a}}", "list": ["{{a}}", 1], "text": "to {{a}}", "null": None}, "body")
    assert filled(template, {}) == {"list": [1], "text": "to ", "null": None}
    assert filled(template, {"a": None})["a"] is None


def test_the_whole_body_can_be_one_value() -> None:
    template = parse_body("{{rows}}", "body")
    assert list(gaps(template)) == ["rows"]
    assert filled(template, {"rows": [1, 2]}) == [1, 2]
    assert filled(template, {}) is None


def test_a_body_as_text_and_as_python_are_the_same() -> None:
    text = '{"n": {{amount}}, "s": "for {{client}}", "l": [1, null, true], "braces": "a } b { c"}'
    same = {"n": "{{amount}}", "s": "for {{client}}", "l": [1, None, True], "braces": "a } b { c"}
    assert parse_body(text, "body") == parse_body(same, "body")
    assert list(gaps(parse_body(text, "body"))) == ["amount", "client"]


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ('{"a": 1,}', r"^body is not JSON: .*line 1: '\{\"a\": 1,\}'"),
        ('{"a": 1,\n "b": {{x}} {{y}}}', r"line 2"),
        ("", "^body is not JSON"),
        ('{"a": NaN}', "NaN is no JSON value"),
        ('{"a": 1, "a": 2}', "'a' stands twice"),
        ({"a": float("nan")}, "cannot be written as JSON"),
        ({"a": {1, 2}}, "cannot be written as JSON: .*set"),
        ({"{{a}}": 1}, "names a member"),
        ({"a": "{{first name}}"}, r"\{\{first name\}\} is not a placeholder"),
        ({"a": "{{}}"}, "is not a placeholder"),
        ({"a": "{{1st}}"}, "no digit first"),
        ({"a": "hello {{name"}, "'{{name' has no }} at its end"),
        ({"a": "{{env:TOKEN}}"}, "A secret is a header's value"),
    ],
)
def test_what_is_no_template_is_refused_with_the_place(body: Any, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_body(body, "body")
