"""The panel's view of a workspace: its status with words, marks and buttons, and the feed that follows it."""
