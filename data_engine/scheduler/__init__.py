"""What is due and when it runs: planning, triggers, the queue, and the dispatcher that hands work to an executor."""
