"""What answers cost, and the budget that no request may cross."""

from dataclasses import dataclass

from synthgap.core.errors import SynthgapError
from synthgap.llm.base import Usage


class BudgetReached(SynthgapError):
    """The next request could cross the budget."""


@dataclass(frozen=True)
class Money:
    """Prices and budget of an LLM; in the currency of the prices.

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
        """Of numbers or of arrays of them."""
        return (prompt_tokens * (self.input_price or 0) + completion_tokens * (self.output_price or 0)) / 1e6

    def check(self, paid: Usage, pending: Usage, request: Usage) -> None:
        """Refuse the next request where it could cross the budget; `pending` ones may be billed, at the worst."""
        spent, unanswered, worst = self.cost(*paid), self.cost(*pending), self.cost(*request)
        if self.budget is not None and spent + unanswered + worst > self.budget:
            raise BudgetReached(
                f"the budget of {self.budget:g} is reached: {spent:.4g} spent, {unanswered:.4g} at the worst for "
                f"requests without an answer, and the next request could cost {worst:.4g}; raise the LLM's budget to "
                "go on"
            )
