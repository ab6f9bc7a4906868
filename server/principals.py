"""Who calls, remembered by the token they showed."""

from collections import OrderedDict
from dataclasses import dataclass, field, replace

from actors.domain.model import Caller, UserId, UserRole
from sql.users import SessionId


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Who calls, until their token expires at `expires_at`, seconds since 1970."""

    user_id: UserId
    role: UserRole
    session_id: SessionId
    expires_at: float
    caller: Caller = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        caller = Caller(id=self.user_id, role=self.role)
        object.__setattr__(self, "caller", caller)


class PrincipalCache:
    """Principals by token, the least recently used dropped first; never waits."""

    def __init__(self, size: int):
        self._size = size
        self._principals: OrderedDict[str, Principal] = OrderedDict()
        self._tokens: dict[SessionId, set[str]] = {}

    @property
    def session_ids(self) -> frozenset[int]:
        """The sessions that any of the tokens belongs to."""
        return frozenset(self._tokens)

    def get(self, token: str) -> Principal | None:
        """Look a token up; whether it has expired is for the caller to see."""
        principal = self._principals.get(token)
        if principal is not None:
            self._principals.move_to_end(token)
        return principal

    def put(self, token: str, principal: Principal) -> None:
        """Keep a token, perhaps in place of another."""
        self._principals[token] = principal
        self._tokens.setdefault(principal.session_id, set()).add(token)
        if len(self._principals) > self._size:
            self.drop(next(iter(self._principals)))

    def drop(self, token: str) -> None:
        """Forget a token, if it is known."""
        principal = self._principals.pop(token, None)
        if principal is None:
            return
        tokens = self._tokens[principal.session_id]
        tokens.discard(token)
        if not tokens:
            del self._tokens[principal.session_id]

    def drop_session(self, session_id: int) -> None:
        """Forget all tokens of a session."""
        for token in tuple(self._tokens.get(SessionId(session_id), ())):
            self.drop(token)

    def drop_expired(self, now: float) -> None:
        """Forget the tokens that expired by `now`."""
        expired = [t for t, p in self._principals.items() if p.expires_at <= now]
        for token in expired:
            self.drop(token)

    def set_role(self, session_id: int, role: UserRole) -> None:
        """Let all tokens of a session speak for a user who has this role."""
        for token in self._tokens.get(SessionId(session_id), ()):
            if self._principals[token].role is not role:
                self._principals[token] = replace(self._principals[token], role=role)
