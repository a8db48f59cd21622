"""Requests to a service that a test has started."""

import http.client
import json
from email.message import Message

from benchmarks.http_clients import TOKEN


def ask(service, path, body=None, kind="image/png", token=TOKEN, **headers):
    """The status, the content and the headers of an answer."""
    headers = {"Content-Type": kind, **headers}
    if token is not None:
        headers["Authorization"] = f"Bearer {token}"
    connection = http.client.HTTPConnection(*service.address, timeout=20)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers)
        found = connection.getresponse()
        return found.status, found.read(), found.headers
    finally:
        connection.close()


def inspect(service, body, query="", **settings) -> dict:
    status, content, _ = ask(service, f"/v1/flange/inspect{query}", body, **settings)
    assert status == 200, content
    return json.loads(content)


def refused(service, status, body, words, path="/v1/flange/inspect", **settings) -> Message:
    found, content, headers = ask(service, path, body, **settings)
    text = json.loads(content)["error"]
    assert (found, words in text) == (status, True), (found, text)
    return headers


def form(*pictures: tuple[str, bytes]) -> tuple[bytes, str]:
    """A body of multipart/form-data and its Content-Type."""
    body = b"".join(
        b'--XX\r\nContent-Disposition: form-data; name="p"; filename="%s"\r\n'
        b"Content-Type: image/png\r\n\r\n%s\r\n" % (name.encode(), content)
        for name, content in pictures
    )
    return body + b"--XX--\r\n", "multipart/form-data; boundary=XX"
