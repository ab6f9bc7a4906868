"""How an account is made: for a request, for `create-admin`, and for the demo alike."""

from datetime import datetime

from actors.domain.commands import CreateProject
from actors.domain.decide import decide
from actors.domain.events import Batch, Entry
from actors.domain.model import Caller, ProjectId, UserRole
from actors.domain.state import ProjectState
from server.ids import Ids
from server.passwords import Passwords, refuse_weak
from server.representations import encode_event
from sql.accounts import Accounts, NewUser
from sql.receipts import Receive
from sql.users import User

INBOX_NAME = "Inbox"


async def create_account(  # noqa: PLR0913  # an account has that many parts
    accounts: Accounts,
    ids: Ids,
    passwords: Passwords,
    *,
    email: str,
    username: str,
    password: str,
    first_name: str = "",
    last_name: str = "",
    role: UserRole = UserRole.USER,
    at: datetime,
    request_id: str,
    receive: Receive[User] | None = None,
) -> User:
    """Make an account and its inbox project, and keep the receipt, all or nothing.

    Raises PasswordRefused, EmailTaken, UsernameTaken, or Unavailable. The form of the
    address and of the name is the caller's to check (schemas.Register). May wait.
    """
    refuse_weak(password, email=email, username=username)
    new = NewUser(
        id=await ids.user(),
        email=email,
        username=username,
        password_hash=await passwords.hash(password),
        first_name=first_name,
        last_name=last_name,
        role=role,
        at=at,
    )
    inbox = _inbox(await ids.project(), new, request_id)
    return await accounts.create_user(new, inbox, receive=receive)


def _inbox(project_id: ProjectId, owner: NewUser, request_id: str) -> Batch:
    command = CreateProject(
        caller=Caller(id=owner.id, role=owner.role),
        at=owner.at,
        request_id=request_id,
        project_id=project_id,
        owner_id=owner.id,
        name=INBOX_NAME,
        is_inbox=True,
    )
    events = decide(ProjectState(project_id=project_id), command)
    entries = tuple(Entry(event=event, body=encode_event(event)) for event in events)
    return Batch(project_id=project_id, expected=0, entries=entries)
