"""What the panel shows of a workspace: its status with words, marks and buttons, and how it follows the workspace."""
