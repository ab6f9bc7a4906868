"""Why sockets are closed, and what a client is to do then: one table."""

from collections.abc import Mapping
from dataclasses import dataclass

from actors.ports import Ending


@dataclass(frozen=True, slots=True, kw_only=True)
class Closing:
    """A close code: its usual reason, what it means, and whether to come back."""

    code: int
    reason: str
    meaning: str
    reconnect: str


INVALID_TOKEN = Closing(
    code=4001,
    reason="Invalid token",
    meaning="the token is invalid or has expired, or its session has ended",
    reconnect="with a new token",
)
FORBIDDEN = Closing(
    code=4403,
    reason="You may not see this project",
    meaning="you may not see a project that you subscribed to, or not any more",
    reconnect="without this project",
)
SLOW = Closing(
    code=4008,
    reason="Too slow: come back with since",
    meaning="you read nothing for 30 seconds",
    reconnect="yes, with `since`",
)
TOO_MANY_SOCKETS = Closing(
    code=4029,
    reason="You have too many sockets",
    meaning="you have more sockets than `BOARDCAST_SOCKETS_PER_USER`",
    reconnect="once you closed another",
)
TOO_MANY_MESSAGES = Closing(
    code=1008,
    reason="You send too many messages",
    meaning="you send more than 100 messages a second",
    reconnect="no: it would happen again",
)
RESTART = Closing(
    code=1012,
    reason="The server restarts: come back in a moment",
    meaning="the server restarts",
    reconnect="yes, after `return_in` seconds",
)
TRY_LATER = Closing(
    code=1013,
    reason="Try again in a moment",
    meaning="the server cannot check your token, or serve you, right now",
    reconnect="yes, in a moment",
)

CLOSINGS: tuple[Closing, ...] = (
    INVALID_TOKEN,
    FORBIDDEN,
    SLOW,
    TOO_MANY_SOCKETS,
    TOO_MANY_MESSAGES,
    RESTART,
    TRY_LATER,
)

CLOSING_OF: Mapping[Ending, tuple[Closing, str]] = {
    Ending.SLOW: (SLOW, SLOW.reason),
    Ending.FORBIDDEN: (FORBIDDEN, FORBIDDEN.reason),
    Ending.SESSION_ENDED: (INVALID_TOKEN, "Session ended"),
    Ending.UNAVAILABLE: (TRY_LATER, TRY_LATER.reason),
}
