"""The files that steps read and write: recorded for a run and for the keys of previews, and held back where a preview or a run must not write."""
