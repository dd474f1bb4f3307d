"""How many requests may be under way, and how fast they may start."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator

from aiolimiter import AsyncLimiter

FIRST = 16.0  # requests at a time to begin with
SLICE = 0.05  # seconds; tokens are let through in slices of it, so that requests start evenly spaced and not in bursts


class RateLimits:
    """Concurrency that adapts, and a pace for requests and tokens; for one event loop.

    Every success adds 1 / limit to the limit (one more per round), every sign of overload halves it, at most once
    for the requests that were under way (additive increase, multiplicative decrease; Chiu and Jain 1989). Before the
    first overload every success adds 1, which doubles the limit each round (slow start; Jacobson 1988).

    Attributes:
        limit: requests that may be under way at present; `most` at the most, 1 at the least.
        under_way: requests that are.
    """

    def __init__(
        self, most: int, requests_per_minute: float | None = None, tokens_per_minute: float | None = None
    ) -> None:
        self.most = most
        self.limit = min(FIRST, most)
        self.under_way = 0
        self._places = int(self.limit)
        self._free_places = asyncio.Semaphore(self._places)
        self._requests = AsyncLimiter(1, 60 / requests_per_minute) if requests_per_minute else None
        self._slices = AsyncLimiter(1, SLICE)
        self._slice = tokens_per_minute * SLICE / 60 if tokens_per_minute else None
        self._tokens_owed = 0.0  # by the requests that have started
        self._one_by_one = asyncio.Lock()
        self._pause_until = 0.0
        self._halved_at = 0.0

    @contextlib.asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[float]:
        """Wait for a free place and the pace, then hold the place; gives the time of the start."""
        await self._free_places.acquire()
        self.under_way += 1
        try:
            await self._keep_pace(tokens)
            yield time.monotonic()
        finally:
            self.under_way -= 1
            self._places -= 1
            while self._places < int(self.limit):
                self._places += 1
                self._free_places.release()

    async def _keep_pace(self, tokens: int) -> None:
        """A request starts when the tokens of those before it have passed, and after a pause that was asked for."""
        async with self._one_by_one:
            if self._requests:
                await self._requests.acquire()
            if self._slice:
                while self._tokens_owed > 0:
                    await self._slices.acquire()
                    self._tokens_owed -= self._slice
                self._tokens_owed += tokens
        while (wait := self._pause_until - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def give_back(self, tokens: int) -> None:
        """Tokens that a request was expected to take and did not; the next one may start so much earlier."""
        self._tokens_owed -= tokens

    def succeeded(self) -> None:
        self.limit = min(self.most, self.limit + (1 / self.limit if self._halved_at else 1))

    def overloaded(self, started: float, pause: float = 0.0) -> None:
        """A request that started then was refused or not answered in time; `pause` seconds were asked for."""
        now = time.monotonic()
        self._pause_until = max(self._pause_until, now + pause)
        if started >= self._halved_at:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = now
