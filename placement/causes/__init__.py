"""Why an attempt failed: from a failure's text or an API's answer to a cause, what it covers, and what mends it."""

from __future__ import annotations

from placement.causes.model import WALKS_ON, Cause, Failure, QuotaFacts, Scope, Where

__all__ = ["WALKS_ON", "Cause", "Failure", "QuotaFacts", "Scope", "Where", "classify"]


def classify(text: str, where: Where | None = None) -> Failure:
    """What a failure's text, or an API's answer, says; see `placement.causes.classifier.classify`."""
    # Here, because most commands classify nothing.
    from placement.causes import classifier

    return classifier.classify(text, where)
