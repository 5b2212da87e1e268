"""The executor of the daemon's runs, by `[executor]`: its own workers, or a cluster. One face for both.

Describing modules is always done by a worker of this machine.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from data_engine.cause import Cause
from data_engine.daemon.worker_pool import KILL_REQUESTED, STOP_REQUESTED, JobCallbacks, WorkerPool
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.errors import FlowValidationError
from data_engine.scheduler.dispatcher import ReadyFlow
from data_engine.scheduler.executor import Job
from data_engine.status.record import ClusterFacts
from data_engine.workspace.settings import ExecutorSettings

TYPE_CHECKING = False
if TYPE_CHECKING:
    from data_engine.cluster.connection import Connection
    from data_engine.daemon.cluster_runs import ClusterRuns


class RunExecutor:
    """The daemon's executor. Everything happens on the thread of the loop it was made in.

    `pool` are its workers. A job goes where the settings say when it is handed out, and stays there.
    """

    def __init__(
        self,
        home: LocalWorkspace,
        pool: WorkerPool,
        callbacks: JobCallbacks,
        *,
        flows: Callable[[], Mapping[str, ReadyFlow]],
        wake: Callable[[], None],
    ) -> None:
        self.pool = pool
        self._home, self._callbacks, self._flows, self._wake = home, callbacks, flows, wake
        self._loop = asyncio.get_running_loop()
        self._cluster: ClusterRuns | None = None
        self._of: ExecutorSettings | None = None
        self._work_until: float | None = 0.0

    @property
    def trouble(self) -> FlowValidationError | None:
        """What keeps runs from going where the settings say."""
        return None if self._cluster is None else self._cluster.trouble

    def cluster_facts(self) -> ClusterFacts | None:
        """The cluster that runs go to; None where they stay on this machine."""
        if self._cluster is None or self._settings().runs != "dask":
            return None
        settings = self._settings()
        return self._cluster.facts(settings.scheduler or settings.scheduler_file or "")

    def where(self, run_id: str) -> str | None:
        """The cluster's worker that has a run; None for a worker of this machine."""
        return None if self._cluster is None else self._cluster.where(run_id)

    # -- what the dispatcher asks --------------------------------------------------------------------------------------

    def free(self) -> int:
        """How many more jobs may be started now."""
        settings = self._settings()
        if settings.runs == "dask":
            return self._runs(settings).free()
        if settings.kind == "dask" and settings.scheduler == "local" and not self._runs(settings).is_connected():
            return 0  # its items would have no cluster, and start one of their own
        return self.pool.free()

    def submit(self, job: Job) -> None:
        """Start the job."""
        settings = self._settings()
        if job.kind == "run" and settings.runs == "dask":
            self._runs(settings).submit(job)
        else:
            self.pool.submit(job)

    @property
    def _both(self) -> tuple[WorkerPool | ClusterRuns, ...]:
        return (self.pool,) if self._cluster is None else (self.pool, self._cluster)

    def stop(self, run_id: str) -> bool:
        """Ask a run to end at its next step, item, progress or log line; whether anybody has it."""
        return any(executor.stop(run_id, STOP_REQUESTED) for executor in self._both)

    def kill(self, run_id: str) -> bool:
        """End a run's process now, with all it started; whether anybody has it."""
        return any(executor.kill(run_id, KILL_REQUESTED) for executor in self._both)

    def leave(self, job_id: str, *, stop_for: Cause | None = None) -> None:
        """Let the job begin no further run; with `stop_for`, the cause, the one that it is in ends at its next step or item."""
        for executor in self._both:
            executor.leave(job_id, stop_for=stop_for)

    def end_pass(self, pass_number: int) -> None:
        """Let go of the modules of a pass that is over."""
        for executor in self._both:
            executor.end_pass(pass_number)

    def wind_down(self, *, stop_for: Cause | None = None) -> None:
        """Let no job begin another run; with `stop_for`, the cause, those that run end at their next step or item."""
        for executor in self._both:
            executor.wind_down(stop_for=stop_for)

    def set_work_until(self, boot_s: float | None) -> None:
        """Let every worker wait at its next step or item once `boot_clock()` is past this, until it is set anew."""
        self._work_until = boot_s
        for executor in self._both:
            executor.set_work_until(boot_s)

    def running(self) -> dict[str, Job]:
        """The runs that have begun and not ended, with their jobs."""
        return {run_id: job for executor in self._both for run_id, job in executor.running().items()}

    async def close(self, *, kill: bool = False) -> None:
        """Let running jobs end, or kill them, and return when no worker is left."""
        if self._cluster is not None:
            await self._cluster.close(kill=kill)
        await self.pool.close(kill=kill)
        if self._cluster is not None:
            from data_engine.cluster.local import close_own_cluster

            await asyncio.to_thread(close_own_cluster)

    # -- the cluster ---------------------------------------------------------------------------------------------------

    def _settings(self) -> ExecutorSettings:
        return self._home.settings().executor

    def _runs(self, settings: ExecutorSettings) -> ClusterRuns:
        """The cluster of the settings; what is on an earlier one ends there."""
        if self._cluster is None or (self._of != settings and not self._cluster.is_busy):
            from data_engine.daemon.cluster_runs import ClusterRuns

            if self._cluster is not None:
                self._loop.create_task(self._cluster.close())
            self._of = settings
            self._cluster = ClusterRuns(self._home, self._connect, self._callbacks, flows=self._flows, wake=self._wake)
            self._cluster.set_work_until(self._work_until)
        return self._cluster

    def _connect(self) -> Connection:
        """Connect, on a thread that may wait for the client; a cluster of this machine is started."""
        from data_engine.cluster.connection import connected
        from data_engine.cluster.local import scheduler_of

        home = self._home
        return connected(scheduler_of(self._settings(), home.layout.root, home.local.runtime_dir, is_daemon=True))
