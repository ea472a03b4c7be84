"""Query parameters that no route knows: refused, for a misspelt wish would be passed over."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi.requests import HTTPConnection

from mien.errors import did_you_mean
from mien.serve.problems import Problem

if TYPE_CHECKING:
    from fastapi.dependencies.models import Dependant

SHOWN = 60
"""Characters of a client's own word that its answer repeats."""


async def only_known(connection: HTTPConnection) -> None:
    """Refuse a request with parameters that its route does not know, or that stand there twice.

    Raises:
        Problem: 422, which names them and the known ones.
    """
    dependant: Dependant = connection.scope["route"].dependant
    known = sorted(param.alias for param in dependant.query_params)
    given = connection.query_params
    names = list(dict.fromkeys(given))
    for name in names:
        if name not in known:
            allowed = f"it may be {', '.join(known)}" if known else "this address takes none"
            hint = did_you_mean(name, known)
            if name.lower() in ("token", "access_token", "api_key"):
                hint = "send the token in a header: Authorization: Bearer TOKEN; "
            raise Problem(422, f"there is no query parameter {_shown(name)}", hint + allowed)
        if len(given.getlist(name)) > 1:
            raise Problem(
                422, f"the query parameter {_shown(name)} is there more than once", "send one"
            )


def _shown(name: str) -> str:
    return ascii(name if len(name) <= SHOWN else name[:SHOWN] + "...")
