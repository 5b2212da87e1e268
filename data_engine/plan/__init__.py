"""What a deploy would change in the data that production saw, before it does; and goldens, which keep what was right."""
