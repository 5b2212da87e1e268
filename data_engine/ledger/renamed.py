"""What is known of a flow is known of it under its new name, too: a rename makes nothing due that was done."""

from __future__ import annotations

from data_engine.ledger.brought import known_states, put_outputs, put_states
from data_engine.ledger.ledger import Ledger


def carry_over(ledger: Ledger, old: str, new: str) -> None:
    """Let flow `new` know the sources, outputs and switch of flow `old`, where it knows nothing newer; the runs stay where they are.

    Raises:
        LedgerError: the ledger cannot be written.
    """
    put_states(ledger, [state._replace(flow=new) for state in known_states(ledger).values() if state.flow == old])
    put_outputs(ledger, new, ledger.outputs(old))
    switches = ledger.switches()
    if old in switches and new not in switches:
        ledger.set_switch(new, switches[old])
