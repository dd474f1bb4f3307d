"""How many requests may be under way, how fast they may start, and how much they may cost."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from synthgap.errors import SynthgapError
from synthgap.llm import Usage

FIRST = 8.0  # requests at a time to begin with


class BudgetReached(SynthgapError):
    """The next request could cross the budget."""


@dataclass
class Traffic:
    """Concurrency that adapts, and a pace for requests and tokens; for one event loop.

    Every good answer adds 1 / limit to the limit (one more a round), every sign of overload halves it, at most once
    for the requests that were under way (additive increase, multiplicative decrease; Chiu and Jain 1989).
    """

    most: int
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    limit: float = field(init=False)
    under_way: int = 0
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition, init=False)
    _pause_until: float = 0.0
    _request_due: float = 0.0
    _tokens_due: float = 0.0
    _halved_at: float = 0.0

    def __post_init__(self) -> None:
        self.limit = min(FIRST, self.most)

    @contextlib.asynccontextmanager
    async def slot(self, tokens: int) -> AsyncIterator[float]:
        """Wait for a free place and the pace, then hold the place; gives the time of the start."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.under_way < max(1, int(self.limit)))
            self.under_way += 1
        try:
            await self._keep_pace(tokens)
            yield time.monotonic()
        finally:
            self.under_way -= 1
            async with self._changed:
                self._changed.notify_all()

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
        self.limit = min(self.most, self.limit + 1 / max(self.limit, 1))

    def overloaded(self, started: float, pause: float = 0.0) -> None:
        """A request that started then was refused or not answered in time; `pause` seconds were asked for."""
        now = time.monotonic()
        self._pause_until = max(self._pause_until, now + pause)
        if started >= self._halved_at:
            self.limit = max(1.0, self.limit / 2)
            self._halved_at = now


@dataclass
class Money:
    """What was spent and what requests under way could still cost; in the currency of the prices.

    Attributes:
        input_price, output_price: per million tokens; None where unknown, and then nothing is counted.
        budget: None for no limit.
    """

    input_price: float | None = None
    output_price: float | None = None
    budget: float | None = None
    spent: float = 0.0
    reserved: float = 0.0

    @property
    def priced(self) -> bool:
        return self.input_price is not None and self.output_price is not None

    def cost(self, prompt_tokens: int, completion_tokens: int) -> float:
        return (prompt_tokens * (self.input_price or 0) + completion_tokens * (self.output_price or 0)) / 1e6

    def reserve(self, prompt_tokens: int, completion_tokens: int) -> float:
        """Set the worst case of a request aside.

        Raises:
            BudgetReached: it could cross the budget, with what is spent and under way; nothing was set aside.
        """
        worst = self.cost(prompt_tokens, completion_tokens)
        if self.budget is not None and self.spent + self.reserved + worst > self.budget:
            raise BudgetReached(
                f"the budget of {self.budget:g} is reached: {self.spent:.4g} spent, {self.reserved:.4g} under way at "
                f"the worst, and the next request could cost {worst:.4g}; raise llm.budget to go on"
            )
        self.reserved += worst
        return worst

    def settle(self, worst: float, usage: Usage | None) -> None:
        """Turn what was set aside into what was paid: by the answer's tokens, or all of it where nobody counted."""
        self.reserved -= worst
        self.spent += worst if usage is None else self.cost(usage.prompt_tokens, usage.completion_tokens)

    def release(self, worst: float) -> None:
        """Nothing was paid: the endpoint turned the request away."""
        self.reserved -= worst
