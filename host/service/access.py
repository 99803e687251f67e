"""Who may ask: hosts, origins, the token; and what browsers are told with each answer."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
import os
import re
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Iterable, Mapping

from fireflow.host.service.lanes import Refused
from fireflow.hw.errors import InputError

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})
_AUTHORITY = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9._-]+)(?::([0-9]{1,5}))?")
_ORIGIN = re.compile(r"(https?)://(.+)")
_PORTS: Mapping[str, int] = {"http": 80, "https": 443}
_TOKEN = re.compile(r"[\x21-\x7e]{1,1024}")
_LARGEST_TOKEN_FILE = 4096


@dataclass(frozen=True)
class AccessPolicy:
    """What a request must bring.

    Args:
        hosts: names and addresses that the Host header may give, without port. A page of another site whose name
            was made to point here (DNS rebinding) gives that name.
        any_address: a Host that is an IP address is let in too; no such page can have one.
        origins: other sites whose pages may ask, as browsers write them: https://site.example.
        token: what clients must send, or None.
    """

    hosts: frozenset[str] = LOOPBACK
    any_address: bool = False
    origins: frozenset[str] = frozenset()
    token: str | None = None

    @classmethod
    def of(
        cls, bind: str, hosts: Iterable[str] = (), origins: Iterable[str] = (), token: str | None = None
    ) -> AccessPolicy:
        """For a service on the address `bind`.

        Raises:
            InputError: no host, no origin, or no token that a header can carry.
        """
        names = {bind.strip("[]").lower(), *LOOPBACK}
        if not is_loopback(bind):
            names |= {socket.gethostname().lower(), f"{socket.gethostname().lower()}.local"}
        for host in hosts:
            match = _AUTHORITY.fullmatch(host)
            if not match or match[2]:
                raise InputError(
                    f"allow-host: must be a name or an address without port, not {host!r}; give board.example"
                )
            names.add(_name(match[1]))
        for origin in origins:
            if _authority_of(origin) is None:
                raise InputError(
                    f"allow-origin: must be as browsers write it, not {origin!r}; give https://site.example"
                )
        if token is not None and not _TOKEN.fullmatch(token):
            raise InputError(
                "token: must be 1 to 1024 visible ASCII characters without spaces; choose another"
            )
        listed = frozenset(origin.lower() for origin in origins)
        return cls(frozenset(names), _wildcard(bind), listed, token)

    def check_host(self, version: str, headers: Mapping[str, str]) -> None:
        """Raises Refused for a Host that this service does not have. HTTP/1.0, and no browser, may leave it out."""
        host = headers.get("host")
        if host is None and version == "1.0":
            return
        match = _AUTHORITY.fullmatch(host or "")
        name = _name(match[1]) if match else ""
        if name not in self.hosts and not (self.any_address and _is_address(name)):
            raise Refused(
                421, "the Host header must name this service; ask its address, or start it with --allow-host"
            )

    def check_origin(self, headers: Mapping[str, str]) -> str | None:
        """The origin of another site that may ask; None for a program, or a page of ours.

        Raises:
            Refused: a page of another site asks.
        """
        origin = headers.get("origin")
        if origin is None:
            return None
        if origin.lower() in self.origins:
            return origin
        theirs = _authority_of(origin)
        if theirs is not None:
            match = _AUTHORITY.fullmatch(headers.get("host", ""))
            if match and theirs[1:] == (_name(match[1]), int(match[2] or _PORTS[theirs[0]])):
                return None
        raise Refused(
            403, "a page of another site must not ask; start the service with --allow-origin to let it"
        )

    def knows(self, headers: Mapping[str, str]) -> bool:
        """Whether the request brings the token, or needs none."""
        if self.token is None:
            return True
        scheme, _, given = headers.get("authorization", "").partition(" ")
        # Both sides as bytes: `compare_digest` refuses text beyond ASCII.
        same = hmac.compare_digest(given.strip().encode(), self.token.encode())
        return same and scheme.lower() == "bearer"

    def check_token(self, headers: Mapping[str, str]) -> None:
        """Raises Refused without the token."""
        if not self.knows(headers):
            raise Refused(401, "a token must be sent: Authorization: Bearer TOKEN")


OPEN = AccessPolicy()
"""Programs and pages of this computer, without a token."""


def read_token(path: Path) -> str:
    """The token in a file, without the line's end.

    Raises:
        InputError: the file cannot be read, or is no regular, small one.
    """
    try:
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise InputError(
                    f"{path}: the token must lie in a regular file, not in this; write it into one"
                )
            data = file.read(_LARGEST_TOKEN_FILE + 1)
    except OSError as error:
        raise InputError(
            f"{path}: the token must be readable, not {error.strerror}; check the path"
        ) from None
    text = data.decode("latin-1").strip("\r\n")
    if not _TOKEN.fullmatch(text):
        raise InputError(
            f"{path}: must hold one line of 1 to 1024 visible ASCII characters without spaces; write another token"
        )
    return text


def is_loopback(host: str) -> bool:
    """Whether an address to listen on is this computer's alone."""
    name = host.strip("[]").lower()
    return name == "localhost" or (_is_address(name) and ipaddress.ip_address(name).is_loopback)


def page_headers(page: str) -> dict[str, str]:
    """What may run on a page that holds its own script and style: these, and nothing else."""
    hashes = {}
    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        hashes[tag] = base64.b64encode(hashlib.sha256(inline.encode()).digest()).decode()
    return {
        "Content-Security-Policy": f"default-src 'none'; script-src 'sha256-{hashes['script']}'; "
        f"style-src 'sha256-{hashes['style']}'; connect-src 'self'; img-src 'self' blob:; "
        "media-src blob: mediastream:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    }


SECURITY_HEADERS: Mapping[str, str] = {
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""What every answer has; the page has its own Content-Security-Policy."""


def _name(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()


def _authority_of(origin: str) -> tuple[str, str, int] | None:
    """Scheme, name and port of an origin; None if it is none (`null`)."""
    match = _ORIGIN.fullmatch(origin.lower())
    inner = _AUTHORITY.fullmatch(match[2]) if match else None
    if not match or not inner:
        return None
    return match[1], _name(inner[1]), int(inner[2] or _PORTS[match[1]])


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def _wildcard(bind: str) -> bool:
    name = bind.strip("[]")
    return not name or (_is_address(name) and ipaddress.ip_address(name).is_unspecified)
