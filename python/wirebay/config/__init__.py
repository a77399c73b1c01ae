"""The file that `wirebay serve --config` takes: TOML, with the words of the options.

Theory of operation
===================

    file.py      a file's text to one `Config`, or to all its mistakes at once, each with its place
    reading.py   the way there, table by table
    collect.py   the reader of options that goes on behind a mistake
    suspect.py   which part of a table a sentence about it is about
    places.py    on which line of the file each table, key and element is; tomllib does not tell
    words.py     which words the options of a type have, asked of the functions that read them
    schema.py    these words as a JSON Schema, for editors

The options in the file are read by the same functions as those of the command line (`wirebay.options`), so
there is one grammar, and one list of words. What differs is the reader: the command line ends with the first
mistake, a file is read to its end. A value that is missing or of the wrong type reads as absent; what is
told then of the table as a whole would be a guess and is left out.
"""
