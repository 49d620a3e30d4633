"""Template: the request of a row, exactly; and secrets that show nowhere."""

from __future__ import annotations

import asyncio
import json
import subprocess
from importlib.metadata import version
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.core.agent import InputVariable
from batchkit.errors import ConfigError
from batchkit.targets.http_request import HttpRequest
from batchkit.targets.secret import Secret
from batchkit.targets.template import Template, read_headers

TOKEN = "token-0123456789-never-shown"
AGENT = f"batchkit/{version('batchkit')}"


def template(url: str = "https://api.example.com/jobs", method: str = "POST", **settings: Any) -> Template:
    headers = read_headers(settings.pop("headers", None))
    return Template(**({"method": method, "url": url, "body": None, "inputs": ()} | settings), headers=headers)


def sent(made: Template, **values: Any) -> HttpRequest:
    return made.request(values, "b-1-0")


def test_the_request_of_a_row_golden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", TOKEN)
    made = template(
        "https://api.example.com:8443/v1/clients/{{client}}/jobs?dry=0&note={{note}}&lang={{lang}}",
        headers={
            "Authorization": "Bearer env:API_TOKEN",
            "X-Region": "eu-{{region}}",
            "Idempotency": "{{batchkit_key}}",
        },
        body='{"amount": {{amount}}, "text": "{{client}} owes {{amount}}", "tags": ["fixed", {{tag}}]}',
        inputs=[
            InputVariable("amount", schema={"type": "number"}, required=True),
            InputVariable("lang"),
            InputVariable("tag"),
            InputVariable("region", default="west"),
        ],
    )
    assert [(each.name, each.required, each.default) for each in made.inputs] == [
        ("client", True, None),
        ("note", True, None),
        ("lang", False, None),
        ("region", False, "west"),
        ("amount", True, None),
        ("tag", False, None),
    ]
    request = sent(made, client="Müller & Söhne/Ost", note='50% "off"?', amount=12.5)
    assert repr(request) == (
        "POST https://api.example.com:8443/v1/clients/M%C3%BCller%20%26%20S%C3%B6hne%2FOst/jobs"
        "?dry=0&note=50%25%20%22off%22%3F\n"
        "Authorization: Bearer [env:API_TOKEN]\n"
        "X-Region: eu-west\n"
        "Idempotency: b-1-0\n"
        "Accept: application/json\n"
        "Accept-Encoding: identity\n"
        "Content-Type: application/json\n"
        f"User-Agent: {AGENT}\n"
        "\n"
        '{\n  "amount": 12.5,\n  "text": "Müller & Söhne/Ost owes 12.5",\n  "tags": [\n    "fixed"\n  ]\n}'
    )
    assert request.curl == (
        "curl --globoff --request POST "
        "'https://api.example.com:8443/v1/clients/M%C3%BCller%20%26%20S%C3%B6hne%2FOst/jobs"
        "?dry=0&note=50%25%20%22off%22%3F' "
        '--header "Authorization: Bearer $API_TOKEN" '
        "--header 'X-Region: eu-west' --header 'Idempotency: b-1-0' --header 'Accept: application/json' "
        "--header 'Accept-Encoding: identity' --header 'Content-Type: application/json' "
        f"--header 'User-Agent: {AGENT}' "
        """--data-raw '{"amount":12.5,"text":"Müller & Söhne/Ost owes 12.5","tags":["fixed"]}'"""
    )
    assert TOKEN not in repr(made.__dict__) + repr(request) + request.curl


@given(st.text(st.characters(exclude_categories=["Cs"])), st.text(st.characters(exclude_categories=["Cs"])))
def test_no_value_gets_out_of_its_place_in_the_url(segment: str, value: str) -> None:
    made = template("https://api.example.com/a/{{one}}/b?x={{two}}&y=1")
    if segment in ("", ".", ".."):
        with pytest.raises(ValueError, match="cannot be part of a URL's path"):
            sent(made, one=segment, two=value)
        return
    url = sent(made, one=segment, two=value).url
    from_there = url.removeprefix("https://api.example.com/a/")
    assert from_there != url
    assert from_there.count("/") - from_there.partition("?")[2].count("/") == 1
    assert from_there.partition("?")[0].endswith("/b")
    assert from_there.endswith("&y=1")
    assert from_there.count("&") == 1
    assert "#" not in url


def test_dots_cannot_be_put_together_to_a_step_upwards() -> None:
    made = template("https://api.example.com/a/.{{one}}/b")
    with pytest.raises(ValueError, match=r"one is '\.\.', which"):
        sent(made, one=".")
    assert sent(made, one="%2e").url == "https://api.example.com/a/.%252e/b"


@given(
    st.dictionaries(
        st.sampled_from(["one", "two", "three"]),
        st.text(st.characters(exclude_categories=["Cs"]))
        | st.integers()
        | st.booleans()
        | st.lists(st.text('{}ab"\\')),
        min_size=3,
    )
)
def test_a_body_of_any_values_is_json_with_the_values_intact(values: dict[str, Any]) -> None:
    made = template(body='{"a": {{one}}, "b": ["{{two}}", {"c": "{{three}}"}], "text": "{{one}} {{two}}"}')
    content = sent(made, **values).content
    assert content is not None
    body = json.loads(content)
    text = " ".join(each if isinstance(each, str) else json.dumps(each) for each in (values["one"], values["two"]))
    assert body == {"a": values["one"], "b": [values["two"], {"c": values["three"]}], "text": text}


@pytest.mark.parametrize("value", ["a\r\nX-Admin: 1", "a\n", "a\0b", "\x1b[31m"])
def test_a_header_takes_no_line_break(value: str) -> None:
    made = template(headers={"X-Client": "to {{client}}"})
    with pytest.raises(ValueError, match="the header X-Client cannot hold a line break"):
        sent(made, client=value)
    assert ("X-Client", "to Ünï {{code}}") in sent(made, client="Ünï {{code}}").headers


def test_a_header_and_a_query_without_their_value_are_left_out() -> None:
    made = template("https://api.example.com/?a={{a}}&b={{b}}", headers={"X-A": "{{a}}"}, inputs=[InputVariable("a")])
    request = sent(made, b="1")
    assert request.url == "https://api.example.com/?b=1"
    assert "X-A" not in dict(request.headers)


def test_a_template_may_say_its_own_content_type() -> None:
    made = template(headers={"content-type": "application/vnd.api+json"}, body={})
    assert [value for name, value in sent(made).headers if name.lower() == "content-type"] == [
        "application/vnd.api+json"
    ]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"method": "FETCH"}, "method='FETCH' is none of POST"),
        ({"method": None}, "is none of POST"),
        ({"method": "GET", "body": {}}, "A GET request has no body"),
        ({"url": "api.example.com/x"}, "is not a URL"),
        ({"url": "ftp://api.example.com/x"}, "is not the beginning of an http"),
        ({"url": "https://{{host}}/x"}, "the host is part of the template"),
        ({"url": "https://api.{{zone}}.example.com/x"}, "the host is part of the template"),
        ({"url": "https://api.example.com:{{port}}/x"}, "the host is part of the template"),
        ({"url": "https://user:secret@api.example.com/x"}, "a user or a password"),
        ({"url": "https://api.example.com/x#top"}, "has a fragment"),
        ({"url": "https://api.example.com/{{a b}}"}, "is not a placeholder"),
        ({"url": "https:///x"}, "is not the beginning"),
        ({"headers": {"X Y": "1"}}, "'X Y' is not the name of a header"),
        ({"headers": {"X:": "1"}}, "is not the name of a header"),
        ({"headers": {"Host": "x"}}, "Host is set by HTTP itself"),
        ({"headers": {"Content-Length": "1"}}, "set by HTTP itself"),
        ({"headers": {"X-A": "1", "x-a": "2"}}, "x-a is given twice"),
        ({"headers": {"X-A": "1\r\nX-B: 2"}}, "has a line break"),
        ({"headers": {"X-A": 1}}, "must be text or a bk.Secret, not int"),
        (
            {"headers": {"Authorization": "env:NOT_SET_ANYWHERE"}},
            "the environment variable NOT_SET_ANYWHERE is not set",
        ),
        ({"headers": {"Authorization": "Bearer keyring:x"}}, r"headers\['Authorization'\]: 'keyring:x' does not say"),
        ({"headers": {"Authorization": "Bearer {{env:X}}"}}, "A secret is a header's value"),
        ({"inputs": [InputVariable("clent")], "body": {"c": "{{client}}"}}, "declares 'clent'.*mean 'client'"),
        ({"body": {"a": "{{batchkit_item}}"}}, r"there is \{\{batchkit_key\}\}"),
        (
            {"url": "https://api.example.com/{{a}}", "inputs": [InputVariable("a")]},
            "'a' stands in the URL's path, so it must be required",
        ),
        (
            {"url": "http://api.example.com/", "headers": {"X-Key": Secret(TOKEN)}},
            "over the network unencrypted",
        ),
    ],
)
def test_what_cannot_work_is_refused_by_name(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message) as raised:
        template(**settings)
    assert "secret@" not in str(raised.value)
    assert TOKEN not in str(raised.value)


def test_a_required_value_that_is_missing_is_named() -> None:
    with pytest.raises(ValueError, match="there is no value for client"):
        sent(template(body={"c": "{{client}}"}))


def test_what_json_or_a_url_cannot_hold_is_a_value_error() -> None:
    with pytest.raises(ValueError, match="surrogates"):
        sent(template(body={"c": "{{client}}"}), client="\ud800")
    with pytest.raises(ValueError, match="surrogates"):
        sent(template("https://api.example.com/{{client}}"), client="\ud800")


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("Authorization", f"Bearer {TOKEN}", "Authorization: Bearer [hidden]"),
        ("X-Api-Key", TOKEN, "X-Api-Key: [hidden]"),
        ("X-Auth-Token", Secret(TOKEN), "X-Auth-Token: [hidden]"),
        ("X-Any", Secret(TOKEN, reference="keyring:api/me"), "X-Any: [keyring:api/me]"),
    ],
)
def test_a_secret_shows_nowhere_whichever_way_it_is_given(name: str, value: Any, shown: str) -> None:
    request = sent(template(headers={name: value}))
    assert shown in repr(request)
    assert f"${name.upper().replace('-', '_')}" in request.curl
    assert TOKEN not in repr(request) + request.curl + repr(request.secrets)


def test_the_curl_line_sends_the_same_request(faults: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("API_TOKEN", TOKEN)
    hostile = 'it\'s "$HOME" `id` \\ {{x}} é\n@file'

    async def scenario() -> tuple[HttpRequest, Any]:
        async with faults.FaultServer(faults.answering(200, {})) as server:
            made = template(
                server.url + "/a[1]/{{client}}?q={{client}}",
                headers={"X-Key": "env:API_TOKEN", "X-Note": "$HOME 'x'", "X-Empty": ""},
                body={"client": "{{client}}"},
            )
            request = sent(made, client=hostile)
            line = ["sh", "-c", request.curl + " --silent --noproxy '*'"]
            done = await asyncio.to_thread(subprocess.run, line, capture_output=True, text=True, timeout=60)
            assert done.returncode == 0, done.stderr
            (seen,) = server.requests
            return request, seen

    request, seen = asyncio.run(scenario())
    assert f"http://{seen.headers['host']}{seen.target}" == request.url
    assert seen.headers["x-key"] == TOKEN
    assert seen.headers["x-empty"] == ""
    for name, value in request.headers:
        assert seen.headers[name.lower()] == value
    assert seen.body == request.content
    assert json.loads(seen.body) == {"client": hostile}
