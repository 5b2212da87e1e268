"""The background process of a workspace: its control channel and its workers."""
