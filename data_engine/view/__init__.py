"""What people see and type: each verb with its answer, each noun as a card; the view of the panel, and the feed that follows a workspace."""
