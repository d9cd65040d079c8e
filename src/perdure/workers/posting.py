"""One HTTP POST to an address that was looked at before it was used."""

from __future__ import annotations

import ipaddress
import socket
import ssl
from collections.abc import Mapping
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

from perdure.webhooks import Webhook

_PORTS = {"http": 80, "https": 443}
_LONGEST_ANSWER = 65_536
_NAT64 = ipaddress.ip_network("64:ff9b::/96")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def post(hook: Webhook, headers: Mapping[str, str], body: bytes) -> str:
    """Send it; "" if the answer was 2xx, else what went wrong. Redirects are not followed."""
    try:
        status = _post(hook, headers, body)
    except (OSError, HTTPException, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return "" if 200 <= status < 300 else f"the answer was {status}"  # noqa: PLR2004 - HTTP


def _post(hook: Webhook, headers: Mapping[str, str], body: bytes) -> int:
    parts = urlsplit(hook.url)
    host, port = str(parts.hostname), parts.port or _PORTS[parts.scheme]
    connection = HTTPConnection(host, port, timeout=hook.timeout)
    # Connected here, and not by the name again: it could stand for another address by then.
    connection.sock = _connected(hook, host, port)
    try:
        if parts.scheme == "https":
            context = ssl.create_default_context()
            connection.sock = context.wrap_socket(connection.sock, server_hostname=host)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request("POST", path, body, dict(headers))
        answer = connection.getresponse()
        answer.read(_LONGEST_ANSWER)
        return answer.status
    finally:
        connection.close()


def _connected(hook: Webhook, host: str, port: int) -> socket.socket:
    """A socket to the first address of the name that answers; to none if one is forbidden."""
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    for *_, where in found:
        address = ipaddress.ip_address(str(where[0]).partition("%")[0])
        if not hook.allow_private and not is_public(address):
            raise ValueError(f"{host} is {address}, a private address: allow_private=True")
    failure: OSError | None = None
    for family, kind, protocol, _, where in found:
        connected = socket.socket(family, kind, protocol)
        try:
            connected.settimeout(hook.timeout)
            connected.connect(where)
        except OSError as error:
            connected.close()
            failure = error
        else:
            return connected
    raise failure or OSError(f"{host} has no address")


def is_public(address: Address) -> bool:
    """Whether an address is one of the open internet, also one that stands in another."""
    inner = [address]
    if isinstance(address, ipaddress.IPv6Address):
        hidden = (address.ipv4_mapped, address.sixtofour, *(address.teredo or ()))
        inner += [one for one in hidden if one is not None]
        if address in _NAT64:
            inner.append(ipaddress.IPv4Address(int(address) & 0xFFFFFFFF))
    if len(inner) > 1:
        inner = inner[1:]
    return all(one.is_global and not one.is_multicast for one in inner)
