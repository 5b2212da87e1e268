"""What `data-engine doctor` looks at of the workspace's service."""

from __future__ import annotations

from data_engine.daemon.finding import Finding
from data_engine.daemon.service import examined, service_facts
from data_engine.engine.local_workspace import LocalWorkspace
from data_engine.status.record import ServiceFacts


def check_service(home: LocalWorkspace) -> Finding:
    """Whether the service, where one is installed, can do what it is for."""
    return judge_service(examined(home, service_facts(home)))


def judge_service(found: ServiceFacts) -> Finding:
    """What is to be said of the service. None installed is no fault.

    Example:
        >>> judge_service(ServiceFacts()).measured
        'not installed: after a reboot nothing starts by itself'
    """
    if found.trouble is not None:
        return Finding("service", False, found.trouble, found.fix)
    if not found.installed:
        return Finding("service", True, found.text)
    return Finding("service", True, f"{found.kind}, {'with the machine' if found.boot else 'at logon'}: {found.place}")
