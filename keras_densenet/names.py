"""Names of files and classes as one can show them."""

import re

_UNSAFE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")


def visible(name):
    """A name in one line: what would move the cursor, turn the text around or is no Unicode is written as an escape."""
    return _UNSAFE.sub(lambda found: found[0].encode("unicode_escape").decode(), str(name))


def some(names):
    """The first of many names, for a message."""
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
