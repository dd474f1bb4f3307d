"""How many requests may be under way, how fast they may start, and how much they may cost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from synthgap.errors import SynthgapError

Tokens = tuple[int, int]  # of prompts, of answers
FIRST = 16.0  # requests at a time to begin with


class BudgetReached(SynthgapError):
    """The next request could cross the budget."""


@dataclass
class Traffic:
    """Concurrency that adapts, and a pace for requests and tokens; for one event loop.

    Every good answer adds 1 / limit to the limit (one more a round), every sign of overload halves it, at most once
    for the requests that were under way (additive increase, multiplicative decrease; Chiu and Jain 1989). Before the
    first overload every good answer adds 1, which doubles the limit each round (slow start; Jacobson 1988).
    """

    most: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    limit: float = field(init=False)
    under_way: int = 0
    _waiting: deque[asyncio.Future[None]] = field(default_factory=deque, init=False)
    _pause_until: float = 0.0
    _request_due: float = 0.0
    _tokens_due: float = 0.0
    _halved_at: float = 0.0

    def __post_init__(self) -> None:
        self.limit = min(FIRST, self.most)

    @contextlib.asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[float]:
        """Wait for a free place and the pace, then hold the place; gives the time of the start."""
        await self._place()
        try:
            await self._keep_pace(tokens)
            yield time.monotonic()
        finally:
            self.under_way -= 1
            self._call_next()

    async def _place(self) -> None:
        """Take a place; whoever waits longest is next, and wakes alone."""
        if not self._waiting and self._free():
            self.under_way += 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():  # the place was given and is not taken
                self.under_way -= 1
                self._call_next()
            raise

    def _free(self) -> bool:
        return self.under_way < max(1, int(self.limit))

    def _call_next(self) -> None:
        while self._waiting and self._free():
            turn = self._waiting.popleft()
            if not turn.done():
                self.under_way += 1
                turn.set_result(None)

    async def _keep_pace(self, tokens: int) -> None:
        """Requests start evenly spaced, and after a pause that was asked for."""
        now = time.monotonic()
        due = now
        if self.requests_per_minute:
            due = max(due, self._request_due)
            self._request_due = max(now, self._request_due) + 60 / self.requests_per_minute
        if self.tokens_per_minute:
            due = max(due, self._tokens_due)
            self._tokens_due = max(now, self._tokens_due) + 60 * tokens / self.tokens_per_minute
        while (wait := max(due, self._pause_until) - time.monotonic()) > 0:
            await asyncio.sleep(wait)

    def give_back(self, tokens: int) -> None:
        """Tokens that a request was expected to take and did not; the next one may start so much earlier."""
        if self.tokens_per_minute:
            self._tokens_due -= 60 * tokens / self.tokens_per_minute

    def went_well(self) -> None:
        self.limit = min(self.most, self.limit + (1 / max(self.limit, 1) if self._halved_at else 1))

    def overloaded(self, started: float, pause: float = 0.0) -> None:
        """A request that started then was refused or not answered in time; `pause` seconds were asked for."""
        now = time.monotonic()
        self._pause_until = max(self._pause_until, now + pause)
        if started >= self._halved_at:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = now


@dataclass(frozen=True)
class Money:
    """Prices and budget; in the currency of the prices.

    Attributes:
        input_price, output_price: per million tokens; None where unknown, and then nothing is counted.
        budget: None for no limit.
    """

    input_price: float | None = None
    output_price: float | None = None
    budget: float | None = None

    @property
    def priced(self) -> bool:
        return self.input_price is not None and self.output_price is not None

    def cost(self, prompt_tokens: float, completion_tokens: float) -> float:
        return (prompt_tokens * (self.input_price or 0) + completion_tokens * (self.output_price or 0)) / 1e6

    def check(self, paid: Tokens, pending: Tokens, request: Tokens) -> None:
        """Let a request be sent only where no outcome of those already sent could carry it over the budget.

        Args:
            paid: tokens of all answers.
            pending: tokens, at the worst, of requests whose answer never came: under way, or given up and maybe billed.
            request: tokens, at the worst, of the next one.

        Raises:
            BudgetReached: it could cross the budget.
        """
        if self.budget is None:
            return
        spent, open_, worst = self.cost(*paid), self.cost(*pending), self.cost(*request)
        if spent + open_ + worst > self.budget:
            raise BudgetReached(
                f"the budget of {self.budget:g} is reached: {spent:.4g} spent, {open_:.4g} at the worst for requests "
                f"without an answer, and the next request could cost {worst:.4g}; raise llm.budget to go on"
            )
