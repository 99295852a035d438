"""The texts of `backctl help TOPIC` that are not tables. They fit 80 columns."""

FORMATTING = r"""Select the format of a result with -o, or with the variable BACKCTL_OUTPUT.

  table    columns for people; the default on a terminal
  wide     a table with all fields, even if it is wider than the terminal
  json     one JSON document
  jsonl    one JSON object per line, printed as it becomes available
  csv      comma-separated values, with a header line
  tsv      tab-separated values, with a header line; the default elsewhere
  id       identifiers only, one per line
  headers  HTTP header fields; only answers of rate limits have them

  backctl user list -o id
  backctl user list --fields username,email --no-header
  backctl user show ada -o json

Results are printed on standard output. Errors, notices, questions and progress
are printed on standard error. With -o json, errors are JSON too.

  --fields A,B   print only these fields, in this order
  --no-header    omit the header line of tables, csv and tsv
  --empty TEXT   print this text in empty cells
  -q, --quiet    omit notices and the results of changes and checks
  --no-color     use no colours, like the variable NO_COLOR

Commands with a single value, such as 'token issue' and 'user count', print
only this value in text formats. In tsv, a tab, a line end and a backslash in a
cell are written as \t, \n, \r and \\.

In JSON, a list is {"items": […], "next_cursor": …}, also if it is empty. A
change is the changed object with "changed": true or false. A missing value is
null. Times end with Z. Members may be added in later versions.
"""

IDENTITIES = """Commands that take IDENT accept an id, an e-mail address or a username. The form
of the text decides which of them it is:

  a UUID         an id, such as 01997d9c-1d5f-7c4e-9d43-5b0d5c1f0a11
  contains '@'   an e-mail address, such as ada@example.org
  anything else  a username, such as ada

backctl never tries one after the other. A username cannot contain '@' or look
like a UUID. It has 3 to 50 letters, digits, '.', '_' and '-', and starts with a
letter or a digit.

Upper and lower case do not matter, nor do different Unicode spellings of the
same letter: 'Ada' and 'ada' are the same account.

  backctl user show ada
  backctl user show ADA@example.org -o json

Commands that take IDENT... accept several accounts, or read them from a file
or, with '-', from standard input. A file has one account per line: an identity,
or a JSON object with the member id, email or username. Blank lines and lines
that begin with '#' are ignored.

  backctl user deactivate bob cleo --yes
  backctl user deactivate --from-file accounts.txt --yes
  backctl user list --locked -o id | backctl user unlock - --yes
"""

TIME = """A TIME is one of these:

  2026-12-31                 a date: midnight in UTC
  2026-12-31T09:30:00Z       a time in UTC (RFC 3339)
  2026-12-31T10:30:00+01:00  a time with an offset from UTC (RFC 3339)
  7d                         a duration from now

A time needs an offset or Z, because its meaning would otherwise depend on the
machine. A duration goes back from now for what has happened, as in
--created-after and --since, and forward for what will happen, as in
--expires-at and --expires-before.

A DURATION is a whole number and a unit, such as 500ms, 30s, 15m, 8h, 7d or 2w.
Write 90m instead of 1h30m.

  backctl user list --created-after 7d
  backctl audit list --since 2026-11-01 --until 2026-12-01
  backctl user update bob --expires-at 2099-12-31T17:00:00+01:00

Results contain times in UTC with microseconds, such as
2026-12-31T09:30:00.000000Z. Tables on a terminal shorten them to seconds or
minutes.
"""
