"""What runs, in which order, and how: candidates, runs, previews, executors."""
