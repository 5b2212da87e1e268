"""What helps against an error that a step raised: read from the error, its traceback, and what the step was given.

    tables.py           a reader of tables, or a table that was read otherwise than was meant; it asks the next four
    columns.py          a column that is not there, and how a file with such values is read right
    column_types.py     text where a number or a day is meant, keys of a join that differ
    concat.py           tables that cannot be put into one
    readers.py          what a reader was given, and which table lacked a column
    calls.py            a call that was meant for another library, reader or function
    frame_words.py      what Polars writes for the names of pandas
    given.py            a path, an item or a result that the step was not given
    context.py          the context taken for the frame, the file or a path
    paths.py            a relative path that leads to no file

Who asks is `data_engine/flow/step_error.py`.
"""
