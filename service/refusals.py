"""Why a request is not answered with 200."""

RETRY_SECONDS = 1


class RefusedRequestError(Exception):
    """An answer other than 200. `text` is for the client: no exception text, no path of a file.

    close : close the connection afterwards, since the rest of the request was not read
    """

    def __init__(
        self, status: int, text: str, headers: dict[str, str] | None = None, close: bool = False
    ):
        super().__init__(text)
        self.status, self.text = status, text
        self.headers = dict(headers or {}) | ({"Connection": "close"} if close else {})


def overloaded(text: str, close: bool = False) -> RefusedRequestError:
    """503, for what can succeed when it is sent again later."""
    headers = {"Retry-After": str(RETRY_SECONDS)}
    return RefusedRequestError(503, f"{text}; send it again later", headers, close)
