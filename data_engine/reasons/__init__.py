"""Why something runs or does not: the table of reasons, each with its fields, sentence, remedy and mark."""
