"""Which of several servers takes the next request, and how many each is given at a time.

A server's window is how many requests it may have in flight. It grows by one with each answer at
first, then by one with each window of answers, and is halved where the server is overloaded: the
rule of TCP (Chiu and Jain 1989; slow start after Jacobson 1988). A server that fails again and
again is set aside, and asked now and then whether it is back. A request that servers went down
with can have one for itself, so that it is known which of many it was. None of this changes an
answer.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from curation.core.errors import RunError
from curation.io.chat_outage import Outage

_START = 8
"""Requests in flight before anything is known of a server."""

_FAULTS = 3
"""In a row, after which a server is set aside."""

_PROBE_FIRST, _PROBE_LAST = 0.5, 15.0
"""Seconds before a server that was set aside is asked; doubled up to the second."""

_TOLD_AFTER = 2.0
"""Seconds without any server before it is said; a server that starts again in less is no news."""


@dataclass(kw_only=True, eq=False)
class Server:
    """What is known of one server; kept from one event loop to the next."""

    url: str
    most: int
    """Requests that it is given at a time."""
    window: float = field(default=0.0)
    rising: bool = True
    in_flight: int = 0
    faults: int = 0
    """Since its last answer."""
    aside: bool = False
    probes: int = 0
    paused_until: float = 0.0
    """Loop time until which it wants no request."""
    lowered_at: float = 0.0
    """Loop time; requests sent before then say nothing of the window since."""
    alone: bool = False
    """Whether its one request is to have no company."""
    guided: bool = True
    """Whether it takes a `response_format`; found out by a request that it refuses."""
    guides: bool = False
    """Whether it has answered one that had it: it takes it, whatever it refuses later."""
    why: str = ""
    """Words of its last fault."""

    def __post_init__(self) -> None:
        self.window = float(min(_START, self.most))

    def room(self, now: float) -> int:
        """Requests that it may be given now."""
        if self.aside or self.alone or now < self.paused_until:
            return 0
        return max(0, int(self.window) - self.in_flight)

    def answered(self) -> None:
        """An answer came in good time."""
        self.faults = self.probes = 0
        self.window = min(self.most, self.window + (1.0 if self.rising else 1.0 / self.window))

    def overloaded(self, sent: float, now: float) -> None:
        """Halves the window, once for all requests that were in flight together."""
        if sent >= self.lowered_at:
            self.window = max(1.0, self.window / 2)
            self.rising = False
            self.lowered_at = now

    def failed(self) -> bool:
        """Counts a fault; says whether the server is to be set aside."""
        self.faults += 1
        return not self.aside and self.faults >= _FAULTS


class Servers:
    """Hands out servers to requests on one event loop."""

    def __init__(
        self,
        servers: list[Server],
        probe: Callable[[Server], Awaitable[bool]],
        outage_seconds: float,
        told: Outage | None = None,
        answer_seconds: float = 0.0,
    ) -> None:
        self._servers = servers
        self._probe = probe
        self._outage_seconds = outage_seconds
        self._told = told or Outage()
        self._answer_seconds = answer_seconds
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._waiting_alone: deque[asyncio.Future[None]] = deque()
        self._alone = 0
        """Requests that want a server for themselves, or have it."""
        self._probing: dict[str, asyncio.Task[None]] = {}
        self._outage: asyncio.TimerHandle | None = None
        self._late = False
        """Whether the outage is over its time, and a server that came back has yet to answer."""
        self._telling: asyncio.TimerHandle | None = None
        self._lost: RunError | None = None
        for server in servers:
            server.in_flight, server.alone = 0, False
            server.paused_until = server.lowered_at = 0.0  # loop time of a loop that has ended
            if server.aside:
                self.set_aside(server)

    async def take(self, avoid: Server | None = None, *, alone: bool = False) -> Server:
        """A server with room, the one with the most of it to spare; waits until there is one.

        `avoid`, if it failed since its last answer, is taken only where no other is in use; `alone`
        takes one that has nothing else to do, and keeps it so. Raises RunError where all have been
        away for too long.
        """
        self._alone += alone
        try:
            while True:
                if self._lost is not None:
                    raise self._lost
                server = self._empty() if alone else self._roomiest(avoid)
                if server is not None:
                    server.in_flight += 1
                    server.alone = alone
                    return server
                turn: asyncio.Future[None] = self._loop.create_future()
                (self._waiting_alone if alone else self._waiting).append(turn)
                await turn
        except BaseException:
            self._alone -= alone
            self.wake()  # the turn may have been given just now
            raise

    def _roomiest(self, avoid: Server | None) -> Server | None:
        now, kept = self._loop.time(), self._kept()
        usable = [server for server in self._servers if not server.aside and server is not kept]
        others = [s for s in usable if s is not avoid or not s.faults] or usable
        free = [server for server in others if server.room(now)]
        return min(free, key=lambda s: (s.in_flight / s.window, s.url), default=None)

    def _kept(self) -> Server | None:
        """The server that gets no other request until those that want one alone were served."""
        usable = [server for server in self._servers if not server.aside]
        if not self._alone or not usable:
            return None
        now = self._loop.time()
        return min(usable, key=lambda s: (not s.alone, s.paused_until > now, s.in_flight, s.url))

    def _empty(self) -> Server | None:
        kept = self._kept()
        return kept if kept and not kept.in_flight and kept.room(self._loop.time()) else None

    def give_back(self, server: Server) -> None:
        """A request has ended, however it ended."""
        server.in_flight -= 1
        self._alone -= server.alone
        server.alone = False
        self.wake()

    def wake(self) -> None:
        """Lets as many that wait try again as there is room for."""
        now, kept = self._loop.time(), self._kept()
        _call(self._waiting_alone, 1 if self._empty() else 0)
        room = sum(server.room(now) for server in self._servers if server is not kept)
        _call(self._waiting, room)

    def pause(self, server: Server, seconds: float) -> None:
        """The server gets no request for so long."""
        until = self._loop.time() + seconds
        if until > server.paused_until:
            server.paused_until = until
            self._loop.call_later(seconds + 0.001, self.wake)

    def set_aside(self, server: Server) -> None:
        """The server gets no request until it answers a probe."""
        server.aside = True
        if server.url not in self._probing:
            self._probing[server.url] = self._loop.create_task(self._until_back(server))
            self._probing[server.url].add_done_callback(self._probed)
        if self._outage is None:
            self._watch()
        self._wake_all()  # who would rather have had another may find this one gone

    async def _until_back(self, server: Server) -> None:
        while True:
            await asyncio.sleep(min(_PROBE_LAST, _PROBE_FIRST * 2.0**server.probes))
            server.probes = min(server.probes + 1, 16)
            if await self._probe(server):
                break
        del self._probing[server.url]
        # It completes a word, so further faults are as likely the requests' as its own.
        server.aside, server.faults, server.probes = False, 0, 0
        server.window, server.rising = 1.0, True  # one that kills it then hits no other
        self._wake_all()

    def note_life(self) -> None:
        """A server did what servers do; one that only answers probes is none."""
        self._unwatch()
        if not all(server.aside for server in self._servers):
            self._told.end()
        self._watch()  # a last answer may come from a server that has been set aside since

    def _watch(self) -> None:
        """Lets the time run in which one of the servers has to come back, if all are away."""
        if all(server.aside for server in self._servers):
            self._outage = self._loop.call_later(self._outage_seconds, self._give_up)
            self._telling = self._loop.call_later(_TOLD_AFTER, self._tell)

    def _unwatch(self) -> None:
        for timer in filter(None, (self._outage, self._telling)):
            timer.cancel()
        self._outage = self._telling = None
        self._late = False

    def _tell(self) -> None:
        if not all(server.aside for server in self._servers):  # one is back and at work
            self._telling = self._loop.call_later(_TOLD_AFTER, self._tell)
            return
        self._told.begin([s.why or s.url for s in self._servers], self._outage_seconds)

    def _probed(self, task: asyncio.Task[None]) -> None:
        """Nobody else would hear of a probe that broke, and all would wait for good."""
        if not task.cancelled() and (fault := task.exception()) is not None:
            self._lost = RunError(f"asking whether a server is back broke: {fault!r}")
            self._wake_all()

    def _give_up(self) -> None:
        back = any(server.in_flight for server in self._servers if not server.aside)
        if back and not self._late:
            self._late = True  # it has as long as any answer may take
            self._outage = self._loop.call_later(self._answer_seconds, self._give_up)
            return
        told = "; ".join(server.why or server.url for server in self._servers)
        self._lost = RunError(
            f"no server has answered for {self._outage_seconds:.0f} s ({told}); start it and run "
            "the same command again, it goes on where it was"
        )
        self._wake_all()

    def _wake_all(self) -> None:
        _call(self._waiting_alone, len(self._waiting_alone))
        _call(self._waiting, len(self._waiting))

    async def close(self) -> None:
        """Ends probes; servers stay as they are."""
        self._unwatch()
        for task in self._probing.values():
            task.cancel()
        for task in self._probing.values():
            with contextlib.suppress(asyncio.CancelledError):
                await task


def _call(waiting: deque[asyncio.Future[None]], most: int) -> None:
    """Gives a turn to the first that still wait for one."""
    while most > 0 and waiting:
        turn = waiting.popleft()
        if not turn.done():
            turn.set_result(None)
            most -= 1
