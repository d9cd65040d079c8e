"""The strict gate between callers' values and stored text.

What goes in comes out equal, or is refused before anything is written. msgspec alone would
turn NaN into null and the key 1 into "1" without a word, so every value is walked first.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import blake2b, sha256
from typing import Any, NoReturn

import msgspec

from perdure.errors import CorruptError, InvalidError, TooLargeError
from perdure.records import DELETE, JSON, Marker, Opaque

MAX_DEPTH = 200
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
FIRST_MICROS = (datetime.min.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)
LAST_MICROS = (datetime.max.replace(tzinfo=UTC) - EPOCH) // timedelta(microseconds=1)

_encode = msgspec.json.Encoder().encode
_encode_sorted = msgspec.json.Encoder(order="sorted").encode
_decode = msgspec.json.Decoder().decode


@dataclass(frozen=True, slots=True)
class Limits:
    """What a store refuses with `TooLargeError`, in bytes (``records``: a number).

    ``text`` is for ids, keys, names, tags, apps and users; ``title`` for titles, authors and
    types of agents; ``event`` for each JSON field of an event and for a key-value; ``state`` for
    a value of state and for metadata; ``artifact`` for the bytes of one version; ``checkpoint``
    for all values of one put; ``namespace`` for a namespace of checkpoints; ``records`` for
    events of one append, keys of one call and items of one page.
    """

    text: int = 512
    title: int = 16_384
    event: int = 16 * 2**20
    state: int = 4 * 2**20
    artifact: int = 256 * 2**20
    checkpoint: int = 512 * 2**20
    namespace: int = 1_024
    records: int = 10_000


def encode(value: JSON, path: str, limit: int, name: str = "event") -> str:
    """The JSON text of a value; `InvalidError` with the path of what is not JSON.

    More than ``limit`` bytes of UTF-8 are a `TooLargeError` that gives the limit's name.
    """
    if check(value, path):
        value = _plain(value)
    try:
        data = _encode(value)
    except (UnicodeEncodeError, ValueError, OverflowError, TypeError) as error:
        _refuse_text(value, path)
        raise InvalidError(f"{path}: {error}", path) from error
    if len(data) > limit:
        message = f"{path} is {len(data)} bytes of JSON, the limit {name!r} is {limit}"
        raise TooLargeError(message, name, path)
    return data.decode()


def encode_bytes(value: JSON) -> bytes:
    """The same as `encode_trusted`, as UTF-8; bytes inside become base64."""
    return _encode(value)


def encode_trusted(value: JSON) -> str:
    """The JSON text of a value that perdure made itself."""
    return _encode(value).decode()


def decode(text: str | bytes, what: str) -> Any:
    """The value of a stored text; `CorruptError` naming the row if it is damaged."""
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise CorruptError(f"the stored JSON of {what} is damaged: {error}") from error


def parse(text: str | bytes) -> JSON:
    """The value of JSON text from outside; duplicate keys and NaN are `InvalidError`."""
    try:
        return json.loads(text, object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError as error:
        raise InvalidError(f"the JSON is nested deeper than {MAX_DEPTH}") from error
    except UnicodeDecodeError as error:
        raise InvalidError(f"the JSON is not UTF-8: {error}") from error
    except InvalidError:
        raise
    except ValueError as error:
        # Also for a number of more digits than Python reads.
        raise InvalidError(f"not JSON: {error}") from error


def check(value: JSON, path: str, depth: int = 0) -> bool:
    """Refuse what is not JSON; True if some type in it is only a subclass of a JSON type."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return False
    if kind is float:
        if value - value != 0:
            raise InvalidError(f"{path} is {value!r}: JSON has no such number, use None", path)
        return False
    if depth >= MAX_DEPTH:
        raise InvalidError(f"{path[:200]}… is nested deeper than {MAX_DEPTH}", path[:200])
    if kind is dict:
        return _check_items(value, path, depth + 1)
    if kind is list or kind is tuple:
        loose = False
        for index, item in enumerate(value):
            if type(item) is not str and check(item, f"{path}[{index}]", depth + 1):
                loose = True
        return loose
    return _check_subclass(value, path, depth)


def _check_items(value: Mapping[str, JSON], path: str, depth: int) -> bool:
    loose = False
    for key, item in value.items():
        if type(key) is not str:
            if not isinstance(key, str):
                raise InvalidError(f"{path} has the key {key!r}: keys must be text", path)
            loose = True
        if type(item) is not str and check(item, f"{path}.{key}", depth):
            loose = True
    return loose


def _check_subclass(value: Any, path: str, depth: int) -> bool:
    if isinstance(value, dict):
        check(dict(value), path, depth)
    elif isinstance(value, list | tuple):
        check(list(value), path, depth)
    elif isinstance(value, float):
        check(float(value), path, depth)
    elif isinstance(value, Marker):
        raise InvalidError(f"{path} is {value!r}, which only the keys of a delta can have", path)
    elif not isinstance(value, str | int):
        hint = "wrap bytes in perdure.Opaque" if isinstance(value, bytes) else "convert it first"
        name = type(value).__qualname__
        article = "an" if name[:1].lower() in {"a", "e", "i", "o"} else "a"
        raise InvalidError(f"{path} is {article} {name}, not JSON: {hint}", path)
    return True


def _plain(value: Any) -> JSON:
    """The same value in exact JSON types: msgspec would refuse or rename subclasses."""
    if isinstance(value, dict):
        return {str.__str__(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    for exact in (bool, int, float, str):
        if isinstance(value, exact):
            return exact.__str__(value) if exact is str else exact(value)
    return value


def _refuse_text(value: Any, path: str) -> None:
    if isinstance(value, str):
        try:
            value.encode()
        except UnicodeEncodeError as error:
            message = f"{path} has a lone surrogate at position {error.start}: not valid Unicode"
            raise InvalidError(message, path) from None
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_text(key, f"{path} (a key)")
            _refuse_text(item, f"{path}.{key}")
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            _refuse_text(item, f"{path}[{index}]")


def _unique(pairs: list[tuple[str, JSON]]) -> dict[str, JSON]:
    found = dict(pairs)
    if len(found) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        twice = next(key for key, count in counts.items() if count > 1)
        raise InvalidError(f"the key {twice!r} stands twice in one JSON object", twice)
    return found


def _no_constant(name: str) -> NoReturn:
    raise InvalidError(f"{name} is not JSON: use null")


Payload = tuple[str | None, str | None, bytes | None]


def payload(value: JSON | Opaque, path: str, limit: int, name: str = "event") -> Payload:
    """The columns (JSON text, codec, bytes) of a value: the text alone, or the other two."""
    if type(value) is not Opaque:
        return encode(value, path, limit, name), None, None
    check_text(value.codec, f"{path}.codec", 512)
    if not value.codec or not isinstance(value.data, bytes):
        raise InvalidError(f"{path}: an Opaque needs the name of a codec and bytes", path)
    if len(value.data) > limit:
        message = f"{path} is {len(value.data)} bytes, the limit {name!r} is {limit}"
        raise TooLargeError(message, name, path)
    return None, value.codec, value.data


def from_payload(text: str | None, codec: str | None, data: bytes | None, what: str) -> Any:
    """The value of such columns."""
    if text is not None:
        return decode(text, what)
    if codec is None or data is None:
        raise CorruptError(f"{what} has neither JSON nor bytes")
    return Opaque(codec, data)


Delta = Mapping[str, JSON | Opaque | Marker]


def encode_delta(delta: Delta, path: str, limits: Limits) -> str:
    """The stored form of a delta: ``[[key, value], [removed key], [key, codec, base64]]``.

    Not an object with a reserved key: a caller's own key of that name would be taken for it.
    """
    columns = {key: delta_columns(key, value, path, limits) for key, value in delta.items()}
    return join_delta(columns, path, limits)


def delta_columns(key: str, value: JSON | Opaque | Marker, path: str, limits: Limits) -> Payload:
    """The columns of one key of a delta; all None for `DELETE`."""
    if value is DELETE:
        return None, None, None
    return payload(value, f"{path}[{key!r}]", limits.state, "state")


def join_delta(columns: Mapping[str, Payload], path: str, limits: Limits) -> str:
    """The stored form of a delta whose values are encoded already."""
    entries = []
    for key, (text, codec, data) in columns.items():
        entry = encode_trusted(key)
        if text is not None:
            entry += f",{text}"
        elif codec is not None and data is not None:
            entry += f",{encode_trusted(codec)},{encode_trusted(b64encode(data).decode())}"
        entries.append(f"[{entry}]")
    stored = f"[{','.join(entries)}]"
    size = len(stored) if stored.isascii() else len(stored.encode())
    if size > limits.event:
        message = f"{path} is {size} bytes of JSON, the limit 'event' is {limits.event}"
        raise TooLargeError(message, "event", path)
    return stored


def decode_delta(text: str, what: str) -> dict[str, JSON | Opaque | Marker]:
    """The delta of a stored text."""
    delta: dict[str, JSON | Opaque | Marker] = {}
    for key, *rest in decode(text, what):
        if not rest:
            delta[key] = DELETE
        else:
            delta[key] = rest[0] if len(rest) == 1 else Opaque(rest[0], b64decode(rest[1]))
    return delta


def canonical(value: JSON) -> str:
    """JSON text with sorted keys and integral floats as integers: equal values, equal text."""
    return _encode_sorted(_integral(value)).decode()


def args_text(args: JSON, path: str, limits: Limits) -> tuple[str, str]:
    """Arguments as they are stored, and the SHA-256 in hex of their canonical form."""
    text = encode(args, path, limits.event)
    plain = canonical(decode(text, path))
    return text, sha256(plain.encode()).hexdigest()


def _integral(value: JSON) -> JSON:
    if isinstance(value, dict):
        return {key: _integral(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_integral(item) for item in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def digest(*texts: str | bytes) -> str:
    """32 hex digits of BLAKE2b over the texts, each with its length before it."""
    parts: list[bytes] = []
    for text in texts:
        data = text.encode() if isinstance(text, str) else text
        parts += (b"%d:" % len(data), data)
    # One call: of short texts it is the calls that take the time.
    return blake2b(b"".join(parts), digest_size=16).hexdigest()


def check_text(value: object, what: str, limit: int, *, blank: bool = True) -> str:
    """The text, if it can be an id or a name: Unicode without NUL, of at most `limit` bytes."""
    if not isinstance(value, str):
        raise InvalidError(f"{what} must be text, not {type(value).__qualname__} {value!r}", what)
    if not blank and not value.strip():
        raise InvalidError(f"{what} must not be blank, it is {value!r}", what)
    if "\0" in value:
        raise InvalidError(f"{what} must not hold NUL characters, it is {value!r}", what)
    try:
        size = len(value) if value.isascii() else len(value.encode())
    except UnicodeEncodeError:
        raise InvalidError(f"{what} holds a lone surrogate: {value!r}", what) from None
    if size > limit:
        raise TooLargeError(f"{what} is {size} bytes, the limit is {limit}", "text", what)
    return str.__str__(value)


def to_micros(moment: object, what: str) -> int:
    """Microseconds since 1970 (UTC) of an aware datetime."""
    if not isinstance(moment, datetime):
        raise InvalidError(f"{what} must be a datetime, not {moment!r}", what)
    if moment.tzinfo is None or moment.utcoffset() is None:
        message = f"{what} {moment.isoformat()} has no time zone: use datetime.now(UTC)"
        raise InvalidError(message, what)
    micros = (moment - EPOCH) // timedelta(microseconds=1)
    if not FIRST_MICROS <= micros <= LAST_MICROS:
        raise InvalidError(f"{what} {moment.isoformat()} is in no year of UTC from 1 to 9999", what)
    return micros


def from_micros(micros: int) -> datetime:
    """The aware datetime, in UTC, of stored microseconds since 1970; `CorruptError`."""
    try:
        return EPOCH + timedelta(0, 0, micros)
    except (OverflowError, TypeError) as error:
        raise CorruptError(f"the stored time {micros!r} is damaged") from error


def maybe(convert: Callable[[Any], Any], value: Any) -> Any:
    """None stays None."""
    return None if value is None else convert(value)
