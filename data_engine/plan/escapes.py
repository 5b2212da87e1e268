"""Which steps of a flow reach servers, mail or programs, which no preview holds back, told from what their code reaches; nothing is run."""

from __future__ import annotations

from collections.abc import Iterator
from types import FunctionType
from typing import Any

from data_engine.engine.access.bytecode import code_facts
from data_engine.engine.memo.tracer import CodeTracer
from data_engine.flow.check import Check
from data_engine.flow.flow import Flow
from data_engine.flow.spec import Collect, Map, StepSpec
from data_engine.plan.plan import NotHeldBack

_TALKERS = frozenset(
    """requests httpx aiohttp urllib3 boto3 botocore paramiko smtplib ftplib imaplib poplib telnetlib socket websockets
    sqlalchemy psycopg psycopg2 pymysql MySQLdb pyodbc oracledb cx_Oracle snowflake pymssql redis pymongo kafka pika
    fsspec s3fs gcsfs adlfs google azure slack_sdk slack apprise win32com pythoncom selenium playwright O365 exchangelib
    connectorx adbc_driver_manager turbodbc hdfs paho gspread pysftp fabric""".split()
)
"""Libraries that exist to talk to something else."""

_REASONS = {"the network": "talks to the network", "a subprocess": "starts a program"}
_WRITERS = frozenset({"to_sql", "to_gbq", "write_database"})
"""What writes a frame to a server, by whatever library."""


def escapes(flow: Flow) -> tuple[NotHeldBack, ...]:
    """The steps of the flow that show how they reach something beside files, each with how that shows.

    Example:
        >>> escapes(Flow("Demo").step(str))
        ()
    """
    return tuple(NotHeldBack(step.label, why) for step in flow.steps if (why := _why(step)) is not None)


def _why(step: StepSpec) -> str | None:
    fn: Any = step.fn
    if isinstance(fn, (Collect, Check)):
        return None
    tracer = _Tracer()
    tracer.root(fn.fn if isinstance(fn, Map) else fn)
    libraries = {name.removeprefix("library ") for name in tracer.parts if name.startswith("library ")}
    libraries |= tracer.refused
    if talkers := sorted(libraries & _TALKERS):
        return f"uses {', '.join(talkers)}"
    for reason, words in _REASONS.items():
        if reason in tracer.reasons:
            return words
    writers = sorted({*tracer.mentions, *_names_called(tracer)} & _WRITERS)
    return f"calls {', '.join(writers)}" if writers else None


class _Tracer(CodeTracer):
    """Follows code, and keeps every reason why it cannot be seen through."""

    def __init__(self) -> None:
        super().__init__()
        self.reasons: set[str] = set()
        self.refused: set[str] = set()

    def mark_unseen(self, reason: str) -> None:
        """Keep the reason."""
        super().mark_unseen(reason)
        self.reasons.add(reason)
        self.refused.add(reason.partition(".")[0])


def _names_called(tracer: CodeTracer) -> Iterator[str]:
    """The names that the functions reached read as globals, or import."""
    for reached in tracer.alive:
        if isinstance(reached, FunctionType):
            facts = code_facts(reached.__code__)
            for chain in facts.globals:
                yield from chain
            for _, _, chain in facts.imports:
                yield from chain
