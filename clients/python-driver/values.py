"""Replies in the protocol's terms."""

import math


def text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else value


def typed(value, error_text):
    """error_text gives the text of an error that the cache sent, and None for what is none. bool comes before int, which it is a kind of
    in Python."""
    if value is None:
        return {"type": "null", "value": None}
    if isinstance(value, bool):
        return {"type": "boolean", "value": value}
    if isinstance(value, int):
        return {"type": "integer", "value": value}
    if isinstance(value, float):
        return {"type": "double", "value": value if math.isfinite(value) else str(value)}
    if isinstance(value, (bytes, str)):
        return {"type": "bulk", "value": text(value)}
    if isinstance(value, (list, tuple)):
        return {"type": "array", "value": [typed(item, error_text) for item in value]}
    if isinstance(value, (set, frozenset)):
        return {"type": "set", "value": [typed(item, error_text) for item in value]}
    if isinstance(value, dict):
        return {"type": "map", "value": [[typed(key, error_text), typed(item, error_text)] for key, item in value.items()]}
    if (error := error_text(value)) is not None:
        return {"type": "error", "value": error}
    raise TypeError(f"a reply of type {type(value).__name__}, which the protocol has no name for")
