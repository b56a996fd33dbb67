"""Whether anything listens where a cluster is said to be: engines try for minutes in silence."""

import socket

_SECONDS = 10.0


def unreachable(addresses: str) -> str:
    """Why none of `HOST:PORT,HOST:PORT,...` answers; empty where one does, or none has a port."""
    said = ""
    for address in addresses.split(","):
        host, colon, port = address.strip().rpartition(":")
        if not colon or not port.isdigit():
            return ""
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_SECONDS).close()
        except (OSError, OverflowError) as error:
            said = str(error)
        else:
            return ""
    return said
