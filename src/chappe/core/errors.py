"""The tree of errors; a class exists when a caller would act differently.

ChappeError                    the command line prints the message and ends
├── StoreUnavailable           wait and try again; over HTTP 503 with `Retry-After`
├── Invalid                    the API caller must change something: the contract's code, 4xx
│   ├── TooMuch                the same may be asked again later; over HTTP 429 with `Retry-After`
│   ├── NumberError            (numbers) the same, about a phone number
│   └── SenderError            (numbers) the same, about a sender
├── NewerSchemaError           (storage.migrate) the store is left alone; a newer Chappe is needed
├── SettingsError              (settings) the server does not start; a setting is to be mended
├── CertificateError           (api.tls) the server does not start, or keeps the certificate it has
├── Unreachable                (http_client) no server answers; it may be started, or asked again
└── Declined                   (http_client) the server said no, with the contract's code

The API (api.problems) and the wiring (app) have one each of their own.

An operator's "no" is a value, not an error. SMPP has a tree of its own, because `smpp` imports nothing of ours.
"""

from __future__ import annotations


class ChappeError(Exception):
    """Something went wrong in Chappe; the message says what to do."""


class StoreUnavailable(ChappeError):
    """The store cannot take this now (disk full, locked, gone): nothing was stored, try again."""


class Invalid(ChappeError):
    """What was asked cannot be done as it stands; `code` is the contract's number for the reason.

    `field` names the member of the request to change, where one is to blame. The words for people, French or
    English, are the API's, which knows the caller's language.
    """

    def __init__(self, code: int, field: str | None = None) -> None:
        super().__init__(code, field)
        self.code = code
        self.field = field

    def __str__(self) -> str:
        return f"code {self.code}" if self.field is None else f"code {self.code}: {self.field}"


class TooMuch(Invalid):
    """A limit of the account is reached (76); after `retry_ms` the same may be asked again."""

    def __init__(self, retry_ms: int, field: str | None = None) -> None:
        super().__init__(76, field)
        self.retry_ms = retry_ms
