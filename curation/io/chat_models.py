"""Which model chat servers serve."""

import functools
import http.client
import json
from urllib.parse import urlsplit

from curation.core.errors import UsageError
from curation.io.chat_settings import checked_url

_SECONDS = 10.0
_MOST_BYTES = 1 << 20


@functools.lru_cache(maxsize=16)
def served_model(servers: tuple[str, ...], key: str = "") -> str:
    """Name of the one model that those of the servers that answer serve.

    Raises UsageError where none answers, or where there are several models.
    """
    names: set[str] = set()
    faults: list[str] = []
    for url in servers:
        try:
            names |= _listed(checked_url(url), key)
        except (OSError, http.client.HTTPException, ValueError, LookupError) as error:
            faults.append(f"{url}: {error or type(error).__name__}")
    if len(names) == 1:
        return names.pop()
    if names:
        told = ", ".join(sorted(names)[:10])
        raise UsageError(f"the servers serve several models, name one of them: {told}")
    raise UsageError(
        f"no server says which model it serves ({'; '.join(faults) or 'none is named'}); start "
        "it, or name the model first"
    )


def _listed(root: str, key: str) -> set[str]:
    """Ids in a server's list of models."""
    parts = urlsplit(root)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        connection.request("GET", f"{parts.path}/models", headers=headers)
        reply = connection.getresponse()
        body = reply.read(_MOST_BYTES)
    finally:
        connection.close()
    if reply.status != 200:
        raise ValueError(f"status {reply.status}")
    try:
        ids = {item["id"] for item in json.loads(body)["data"]}
    except (TypeError, RecursionError) as error:
        raise ValueError("its list of models is of another shape") from error
    if not ids or not all(isinstance(name, str) and name for name in ids):
        raise ValueError("lists no model")
    return ids
