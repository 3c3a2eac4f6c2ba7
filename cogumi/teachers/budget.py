"""Budget: the hard stop.

What is spent, what is at risk and what in-flight calls may cost stay under max_usd (contract C4).
"""

from __future__ import annotations

from cogumi.errors import BudgetError


class Budget:
    """Counts nano-dollars. `reserve` before a send, `settle` after it."""

    def __init__(self, max_usd: float | None, spent_nanousd: int = 0, at_risk_nanousd: int = 0) -> None:
        self.limit = None if max_usd is None else round(max_usd * 1e9)
        self.spent = spent_nanousd
        self.at_risk = at_risk_nanousd
        self.in_flight = 0

    def reserve(self, worst: int) -> None:
        """Set aside the most a call can cost. Raises BudgetError budget-reached if that could pass the limit."""
        if self.limit is not None and self.spent + self.at_risk + self.in_flight + worst > self.limit:
            held = (self.spent + self.at_risk + self.in_flight) / 1e9
            raise BudgetError(
                "budget-reached",
                f"${held:.4f} of ${self.limit / 1e9:.4f} spent, at risk or in flight; "
                f"the next call may cost ${worst / 1e9:.4f}",
            )
        self.in_flight += worst

    def settle(self, worst: int, cost: int, at_risk: int) -> None:
        """Replace a reservation by what the call cost and what stays at risk."""
        self.in_flight -= worst
        self.spent += cost
        self.at_risk += at_risk
