"""Unknown query parameters are errors: a misspelled option must not be ignored silently."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.requests import HTTPConnection

from mien.errors import did_you_mean
from mien.serve.problems import MAX_SHOWN, Problem

if TYPE_CHECKING:
    from fastapi.dependencies.models import Dependant


async def reject_unknown(connection: HTTPConnection) -> None:
    """Refuse query parameters that the route does not have, and repeated ones.

    Raises:
        Problem: 422, with the parameter's name and the allowed ones.
    """
    dependant: Dependant = connection.scope["route"].dependant
    known = sorted(param.alias for param in dependant.query_params)
    given = connection.query_params
    for name in dict.fromkeys(given):
        if name not in known:
            allowed = f"allowed: {', '.join(known)}" if known else "this path takes no parameters"
            hint = did_you_mean(name, known)
            if name.lower() in ("token", "access_token", "api_key"):
                # Queries end up in logs and browser histories.
                hint = "send the token in a header: Authorization: Bearer TOKEN; "
            raise Problem(422, f"unknown query parameter {_shown(name)}", hint + allowed)
        count = len(given.getlist(name))
        if count > 1:
            raise Problem(
                422,
                f"query parameter {_shown(name)} is given {count} times",
                "give it at most once",
            )


def _shown(name: str) -> str:
    # ascii() escapes control characters: the text may end up in a terminal.
    return ascii(name if len(name) <= MAX_SHOWN else name[:MAX_SHOWN] + "...")
