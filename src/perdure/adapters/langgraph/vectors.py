"""Vectors of items: beside the item, under the same key, in a namespace of their own.

They have the version of the item that they were made of.

No label of LangGraph's has a period, so no namespace of its users is that one.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from math import isfinite, sqrt
from operator import mul
from typing import Any, TypeAlias

from perdure.errors import EmbedderError, InvalidError
from perdure.records import KeyValue, Namespace, Opaque

#: The first label of the namespaces that hold vectors.
ROOT = "langgraph.vectors"
_CODEC = "f32"

Vector: TypeAlias = "array[float]"


def beside(namespace: Namespace) -> tuple[str, ...]:
    """Where the vectors of a namespace stand."""
    return (ROOT, *namespace)


def packed(vectors: Sequence[Vector]) -> Opaque:
    """The vectors of one item, of one dimension, as they are stored."""
    joined = array("f", [number for vector in vectors for number in vector])
    return Opaque(f"{_CODEC}/{len(vectors[0])}", _ordered(joined).tobytes())


def unpacked(found: KeyValue, dimension: int) -> Vector:
    """The vectors of an item, one behind the other; none if they have another dimension."""
    value = found.value
    if not isinstance(value, Opaque) or value.codec != f"{_CODEC}/{dimension}":
        return array("f")
    return _ordered(array("f", value.data))


def _ordered(numbers: Vector) -> Vector:
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers


def checked(given: Sequence[Any], texts: int, dims: int | None) -> list[Vector]:
    """What an embedder has given for so many texts; `EmbedderError`."""
    vectors = [array("f", map(float, vector)) for vector in given]
    sizes = {len(vector) for vector in vectors}
    wanted = {dims} if dims else sizes
    if len(vectors) != texts or sizes != wanted or len(sizes) != 1 or sizes == {0}:
        message = f"the embedder gave {len(vectors)} vectors of sizes {sorted(sizes)}"
        said = f", each of the size that the index names ({dims})" if dims else ""
        raise EmbedderError(f"{message} for {texts} texts: give one for each{said}")
    if not all(isfinite(number) for vector in vectors for number in vector):
        raise EmbedderError("the embedder gave a vector with numbers that are not finite")
    return vectors


# -- how near ------------------------------------------------------------------------------------


def _cosine(product: float, query: float, other: float) -> float:
    lengths = sqrt(query * other)
    return product / lengths if lengths else 0.0


def _negative_distance(product: float, query: float, other: float) -> float:
    return -sqrt(max(query + other - 2 * product, 0.0))


#: Of the product of two vectors and those of each with itself.
DISTANCES: Mapping[str, Callable[[float, float, float], float]] = {
    "cosine": _cosine,
    "l2": _negative_distance,
    "inner_product": lambda product, _query, _other: product,
}


def distance_named(name: str) -> Callable[[float, float, float], float]:
    """How near two vectors are, greater is nearer; `InvalidError`."""
    if name not in DISTANCES:
        raise InvalidError(f"distance_type is one of {list(DISTANCES)}, not {name!r}", "index")
    return DISTANCES[name]


def scores(query: Vector, items: Sequence[Vector], distance: str) -> list[float]:
    """For each item how near the best of its vectors is to the query."""
    of = DISTANCES[distance]
    own = sum(map(mul, query, query))
    products = _products(query, b"".join(item.tobytes() for item in items))
    found: list[float] = []
    at = 0
    for item in items:
        end = at + len(item) // len(query)
        found.append(max(of(product, own, square) for product, square in products[at:end]))
        at = end
    return found


def _products(query: Vector, data: bytes) -> list[tuple[float, float]]:
    """For each vector its product with the query and with itself."""
    size = len(query)
    try:
        np = import_module("numpy")
    except ImportError:
        vectors = array("f", data)
        some = [vectors[at : at + size] for at in range(0, len(vectors), size)]
        return [(sum(map(mul, query, one)), sum(map(mul, one, one))) for one in some]
    matrix = np.frombuffer(data, dtype="f4").reshape(-1, size).astype("f8")
    products = matrix @ np.array(query, dtype="f8")
    squares = np.einsum("ij,ij->i", matrix, matrix)
    return list(zip(products.tolist(), squares.tolist(), strict=True))


__all__ = ["DISTANCES", "ROOT", "Vector", "beside", "checked", "packed", "scores", "unpacked"]
