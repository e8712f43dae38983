"""The daemon's life: start, reload, stop."""

import asyncio
import os
import platform
import signal
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from flyball import __version__
from flyball.agent.daemon import logs, systemd
from flyball.agent.daemon.answers import collector_answers, gpu_answers, run_answers
from flyball.agent.daemon.api import make_api
from flyball.agent.daemon.api_models import (
    AlertAnswer,
    AlertHistoryAnswer,
    BatchSizeAnswer,
    CollectorAnswer,
    GpuAnswer,
    ReloadAnswer,
    RunAnswer,
    StatusAnswer,
    TuningRequestAnswer,
)
from flyball.agent.daemon.authentication import Authentication
from flyball.agent.daemon.collection import Collection
from flyball.agent.daemon.config import NEEDS_RESTART
from flyball.agent.daemon.config_file import Effective
from flyball.agent.daemon.config_summary import summary_values
from flyball.agent.daemon.exposition import Page, process_registry, render
from flyball.agent.daemon.guard import Guard
from flyball.agent.daemon.memory import give_back
from flyball.agent.daemon.open_secrets import note_open_token
from flyball.agent.daemon.own_metrics import own_samples
from flyball.agent.daemon.readings import Reading
from flyball.agent.daemon.server import bind, make_server, url
from flyball.agent.daemon.shared_thread import SharedThread, SharingWorker
from flyball.agent.daemon.state_log import Log, StateLog
from flyball.agent.daemon.store import Store
from flyball.agent.daemon.web_config import TlsConfig, tls_context
from flyball.agent.daemon.worker import ThreadWorker, Worker
from flyball.clock import Clock
from flyball.collectors.base import Sample
from flyball.collectors.registry import Surroundings
from flyball.collectors.run_state import RankState
from flyball.collectors.runs import Runs
from flyball.errors import FlyballError, OptionError
from flyball.policies.advice import BatchSizeAdvisor

if TYPE_CHECKING:
    from flyball.agent.daemon.alert_service import AlertService
    from flyball.agent.daemon.alerting import Known

SAVE_SECONDS = 60.0
"""A restart reads on from what was saved last, wherever the journals stood when the agent was killed."""
_JOURNALS_SECONDS = 4.0
_SETTLED_SECONDS = 30.0
_CLOSE_SECONDS = 2.0
READ_SECONDS = 10.0
"""For so long a reload waits for its files."""
_SEE_FILES = "see whether the file system of the configuration, the policies and the secrets answers"


class Daemon:
    """Everything that runs; made in the event loop that it lives in.

    Args:
        effective: what it starts with.
        read: reads the configuration anew, for a reload; raises FlyballError.
        config_file: as the user named it.
        clock: wall and monotonic time.
        log: where it says what happens.
        make_worker: makes the threads.
    """

    def __init__(
        self,
        effective: Effective,
        *,
        read: Callable[[], Effective],
        config_file: Path | None,
        clock: Clock,
        log: Log,
        make_worker: Callable[[str], Worker] = ThreadWorker,
    ) -> None:
        self._effective, self._read, self._config_file = effective, read, config_file
        self._clock, self._log = clock, log
        self._host, self._started = platform.node(), clock.time()
        config = effective.config
        self.store = Store()
        self._runs = Runs(
            config.run_folders,
            clock=clock,
            host=self._host,
            positions=config.state_folder / "positions.json",
            finished_seconds=config.finished_seconds,
        )
        self._shared = SharedThread("collectors") if make_worker is ThreadWorker else None
        self.collection = Collection(
            Surroundings(host=self._host, clock=clock, runs=self._runs),
            store=self.store,
            log=StateLog(log, clock),
            make_worker=make_worker,
            shared=self._shared,
            begins=self._begins,
        )
        self._journals, self._pages = make_worker("journals"), make_worker("exposition")
        self._credentials = make_worker("credentials")
        self.authentication = Authentication(
            effective.web.basic_auth_users, effective.token, self._credentials
        )
        self.guard = Guard(
            make_api(self),
            self.authentication,
            max_requests=config.max_requests,
            max_body_bytes=config.max_body_bytes,
            max_header_bytes=config.max_header_bytes,
            headers=effective.web.http_server_config.headers,
        )
        self._advised: Reading | None = None
        self._advisor = BatchSizeAdvisor(config.advice.batch_size)
        self._make_worker = make_worker
        self.alerting: AlertService | None = None
        self._process = process_registry()
        self._context: ssl.SSLContext | None = None
        self._reload_error, self._asked = "", asyncio.Event()
        self._journals_job: asyncio.Future[object] | None = None
        self._configuration: Worker | None = None
        self._reloading = asyncio.Lock()
        self._reading: asyncio.Future[tuple[Effective, dict[str, Known]]] | None = None

    @property
    def allow_admin(self) -> bool:
        """Whether POST /-/reload works, and requests can be taken."""
        return self._effective.config.allow_admin

    def start(self) -> None:
        """Start the collectors."""
        self.store.listen(self._read_anew)
        self.collection.apply(self._effective.wanted, self._effective.config.limits)

    async def start_alerting(self, *, port: int) -> None:
        """Evaluate the policies, where there are any, and deliver.

        Raises:
            DatabaseError: the database of alerts cannot be used.
        """
        if not self._effective.rules:
            return
        # Imported only now: an agent without policies needs no database.
        from flyball.agent.daemon.alert_service import AlertService

        service = AlertService(
            self._effective,
            store=self.store,
            own=self._own_samples,
            ranks=self._ranks,
            tried=self.collection.tried,
            host=self._host,
            clock=self._clock,
            log=self._log,
            # Awake anyway when there is something to evaluate; long evaluations get a thread of their own.
            rules_worker=self._shared.worker("policies") if self._shared else self._make_worker("policies"),
            storage_worker=self._make_worker("alerts"),
        )
        await service.start(self._effective, port=port)
        self.alerting = service

    async def serve(self, say: Callable[[str], None]) -> None:
        """Serve until SIGTERM or SIGINT; ``say`` gets the address.

        Raises:
            OptionError: the address cannot be used.
        """
        tls = self._effective.web.tls_server_config
        self._context = tls_context(tls) if tls is not None else None
        listener = bind(self._effective.config)
        server = make_server(self.guard, self._effective.config, self._context)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, server.end)
        loop.add_signal_handler(signal.SIGHUP, self._asked.set)
        await self.start_alerting(port=listener.getsockname()[1])
        self.start()
        give_back()
        loop.call_later(_SETTLED_SECONDS, give_back)  # NVML's start is over by then
        tasks = [
            loop.create_task(one) for one in (self._save_often(), self._reload_when_asked(), _watchdog())
        ]
        note_open_token(self._effective, self._log.warning)
        self._log.info("agent started", **summary_values(self._effective))
        say(url(listener, tls=tls is not None))
        systemd.notify("READY=1", f"MAINPID={os.getpid()}")
        try:
            await server.serve(sockets=[listener])
        finally:
            systemd.notify("STOPPING=1")
            for task in tasks:
                task.cancel()
            await self.stop()

    async def stop(self) -> None:
        """Close the collectors, and save how far the journals were read; takes at most 8 seconds."""
        closing_alerts = self.alerting.stop() if self.alerting is not None else asyncio.sleep(0)
        await asyncio.gather(self.collection.stop(_CLOSE_SECONDS), closing_alerts)
        closing = self._journals.submit(self._save_and_close)
        done, _ = await asyncio.wait({closing}, timeout=_JOURNALS_SECONDS)
        if not done:
            self._log.warning("journals not saved", reason="stalled")
        elif closing.exception() is not None:
            self._log.warning("journals not saved", reason=str(closing.exception()))
        for worker in (self._journals, self._pages, self._credentials, self._configuration):
            if worker is not None:
                worker.stop()

    def _save_and_close(self) -> None:
        try:
            self._runs.save()
        finally:
            self._runs.close()

    async def _save_often(self) -> None:
        fault = ""
        while True:
            await asyncio.sleep(SAVE_SECONDS)
            try:
                await self._ask_journals(self._runs.save)
                now = ""
            except Exception as error:  # whatever it is, the next try may do
                now = f"{type(error).__name__}: {error}"
            if now and now != fault:
                self._log.warning("journals not saved", reason=now)
            fault = now

    async def _ask_journals(self, job: Callable[[], object]) -> object | None:
        """One question at a time: a file system that hangs must not gather them. None without an answer."""
        if self._journals_job is not None and not self._journals_job.done():
            return None
        self._journals_job = self._journals.submit(job)
        done, _ = await asyncio.wait({self._journals_job}, timeout=_JOURNALS_SECONDS)
        return self._journals_job.result() if done else None

    async def _reload_when_asked(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            await self.reload()

    async def reload(self) -> ReloadAnswer:
        """Read the configuration anew; a bad one changes nothing. One at a time: the last one counts."""
        async with self._reloading:
            return await self._reload()

    async def _reload(self) -> ReloadAnswer:
        systemd.reloading()
        try:
            new, known = await self._read_beside()
            self._take_over_tls(new)
        except (FlyballError, OSError) as error:  # OSError: a certificate that changed after it was checked
            if str(error) != self._reload_error:
                self._log.warning("configuration not taken over", error=str(error))
            self._reload_error = str(error)
            return ReloadAnswer(successful=False, error=str(error), needs_restart=())
        finally:
            systemd.notify("READY=1")
        stale = self._take_over(new)
        if self.alerting is not None:
            await self.alerting.change(new, known)
        return ReloadAnswer(successful=True, error="", needs_restart=stale)

    async def _read_beside(self) -> "tuple[Effective, dict[str, Known]]":
        """Read every file of the configuration, secrets included, in a thread: a file system may hang.

        Raises:
            FlyballError: a file is wrong, or does not answer; the configuration that is in force stands.
        """
        if self._reading is not None and not self._reading.done():
            raise OptionError("is still being read", where=self._config_name, mend=_SEE_FILES)
        if self._configuration is None:
            self._configuration = self._make_worker("configuration")
        alerting = self.alerting

        def job() -> "tuple[Effective, dict[str, Known]]":
            new = self._read()
            note_open_token(new, self._log.warning)
            return new, alerting.known(new) if alerting is not None else {}

        reading = self._reading = self._configuration.submit(job)
        done, _ = await asyncio.wait({reading}, timeout=READ_SECONDS)
        if not done:
            reading.add_done_callback(asyncio.Future.exception)  # nobody waits for it any more
            what = f"was not read within {READ_SECONDS:g} s, or one of its files"
            raise OptionError(what, where=self._config_name, mend=_SEE_FILES)
        return reading.result()

    @property
    def _config_name(self) -> str:
        return str(self._config_file or "defaults")

    def _take_over_tls(self, new: Effective) -> None:
        """Renewed certificates count for the next connection."""
        tls = new.web.tls_server_config
        if self._context is not None and tls is not None and _same_but_files(tls, self._tls()):
            self._context.load_cert_chain(tls.cert_file, tls.key_file)

    def _tls(self) -> TlsConfig | None:
        return self._effective.web.tls_server_config

    def _take_over(self, new: Effective) -> tuple[str, ...]:
        old, self._reload_error = self._effective.config, ""
        stale = [key for key in NEEDS_RESTART if getattr(new.config, key) != getattr(old, key)]
        if new.rules and not self._effective.rules:
            stale.append("policies")
        if not _same_but_files(new.web.tls_server_config, self._tls()):
            stale.append("tls_server_config")
        kept = new.config.model_copy(update={key: getattr(old, key) for key in NEEDS_RESTART})
        self._effective = Effective(
            config=kept,
            settings=new.settings,
            wanted=new.wanted,
            web=new.web.model_copy(update={"tls_server_config": self._tls()}),
            token=new.token,
            receivers=new.receivers,
            rules=new.rules,
            folder=new.folder,
        )
        self.authentication.change(new.web.basic_auth_users, new.token)
        self.guard.headers = new.web.http_server_config.headers
        logs.configure(kept.log_format, kept.log_level)
        self.collection.apply(new.wanted, kept.limits)
        values = summary_values(self._effective)
        self._log.info("configuration taken over", needs_restart=",".join(stale), **values)
        return tuple(stale)

    def unready(self) -> tuple[str, ...]:
        """Why the agent is not ready."""
        return self.collection.unready()

    async def metrics(self, accept: str, accept_encoding: str) -> tuple[bytes, dict[str, str]]:
        """A scrape's body and headers; made in a thread, for a large page takes its time."""
        own = self._own_samples()
        if self.alerting is not None:
            own = (*own, *self.alerting.samples())
        page = Page(tuple(self.store), own, self._process)
        body, headers = await self._pages.submit(
            lambda: render(page, accept=accept, accept_encoding=accept_encoding)
        )
        return body, dict(headers)

    def _own_samples(self) -> tuple[Sample, ...]:
        now = self._clock.time()
        own = own_samples(
            self.collection.watched, self.store, reload_successful=not self._reload_error, now=now
        )
        return (*own, *self._advisor.samples(now))

    def _read_anew(self) -> None:
        reading = self.store.get("workload")
        if reading is not self._advised:
            self._advised = reading
            self._advisor.update(reading.samples if reading is not None else (), self._clock.time())
        if self.alerting is not None:
            self.alerting.wake()

    def _begins(self, worker: Worker) -> None:
        if self.alerting is not None:
            is_shared = isinstance(worker, SharingWorker) and not worker.is_alone
            self.alerting.expect(in_rules_thread=is_shared)

    def batch_sizes(self) -> tuple[BatchSizeAnswer, ...]:
        """What serving runs are advised."""
        return tuple(BatchSizeAnswer(**asdict(one)) for one in self._advisor.answers())

    def alerts(self) -> tuple[AlertAnswer, ...]:
        """Pending and firing alerts."""
        return self.alerting.alerts() if self.alerting is not None else ()

    async def alert(self, key: str) -> AlertHistoryAnswer | None:
        """One alert with its deliveries."""
        return await self.alerting.alert(key) if self.alerting is not None else None

    async def tuning_requests(self) -> tuple[TuningRequestAnswer, ...]:
        """The newest requests."""
        return await self.alerting.tuning_requests() if self.alerting is not None else ()

    async def tuning_request(self, number: int, *, take: bool = False) -> TuningRequestAnswer | None:
        """One request."""
        return await self.alerting.tuning_request(number, take=take) if self.alerting is not None else None

    def collectors(self) -> tuple[CollectorAnswer, ...]:
        """All collectors."""
        return collector_answers(self.collection.watched, self.store)

    def gpus(self) -> tuple[GpuAnswer, ...]:
        """All GPUs."""
        return gpu_answers(self.store)

    async def _ranks(self) -> Sequence[RankState] | None:
        answer = await self._ask_journals(self._runs.refresh)
        return answer if isinstance(answer, tuple) else None

    async def runs(self) -> tuple[RunAnswer, ...] | None:
        """All ranks; None where the journals do not answer."""
        answer = await self._ask_journals(self._run_answers)
        return answer if isinstance(answer, tuple) else None

    def _run_answers(self) -> tuple[RunAnswer, ...]:
        ranks = self._runs.refresh()
        return run_answers(ranks, time=self._clock.time(), monotonic=self._clock.monotonic())

    def status(self) -> StatusAnswer:
        """The agent itself."""
        unready = self.unready()
        return StatusAnswer(
            version=__version__,
            host=self._host,
            pid=os.getpid(),
            started=self._started,
            config_file=None if self._config_file is None else str(self._config_file),
            last_reload_successful=not self._reload_error,
            last_reload_error=self._reload_error,
            ready=not unready,
            unready=unready,
        )


def _same_but_files(new: TlsConfig | None, old: TlsConfig | None) -> bool:
    if new is None or old is None:
        return new is old
    files: Mapping[str, Path] = {"cert_file": old.cert_file, "key_file": old.key_file}
    return new.model_copy(update=files) == old


async def _watchdog() -> None:
    period = systemd.watchdog_seconds()
    while period is not None:
        systemd.notify("WATCHDOG=1")
        await asyncio.sleep(period)
