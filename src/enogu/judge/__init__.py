"""Judge: how well models draw what they are asked for, with intervals, and the report page."""
