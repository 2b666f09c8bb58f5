"""What may be searched: a value that is fixed, values that are listed, or a range."""

WORDS = {"yes": True, "no": False, "true": True, "false": False}


def parse(values):
    """Reads the notation of a hyperparameter's values.

    Args:
        values: a number, bool or None, which is fixed; a list of values; a tuple `(low, high)` or `(low, high, step)`,
            a range; or any of these as text: `"12"`, `"8,12,16"`, `"4:24"`, `"4:24:2"`, `"yes,no"`.

    Returns:
        The value, a list or a tuple.

    Raises:
        ValueError: for another text, an empty list, or a range that is none.
    """
    try:
        if isinstance(values, str):
            kind, sign = (tuple, ":") if ":" in values else (list, ",")
            values = kind(_value(part) for part in values.split(sign))
        if isinstance(values, tuple):
            low, high, *step = map(float, values)
            if low > high or len(step) > 1 or any(size <= 0 for size in step):
                raise ValueError
        elif isinstance(values, list) and not (values and all(isinstance(value, (int, float)) for value in values)):
            raise ValueError
    except (ValueError, TypeError):
        raise ValueError(
            "A hyperparameter must be fixed (12), listed (8,12,16) or a range (4:24 or 4:24:2, the low end first). "
            f"Received: {values!r}"
        ) from None
    return values[0] if isinstance(values, list) and len(values) == 1 else values


def text(values):
    """The text that `parse` reads as `values`; None stays None."""
    values = parse(values)
    if isinstance(values, (list, tuple)):
        return (":" if isinstance(values, tuple) else ",").join(map(_word, values))
    return None if values is None else _word(values)


def declare(hp, name, values, log=False):
    """Adds a hyperparameter to a `HyperParameters`, and returns its value there; a fixed value is no hyperparameter."""
    values = parse(values)
    if isinstance(values, tuple):
        low, high, *step = values
        if len(values) == 2 and (log or not all(isinstance(value, int) for value in values)):
            return hp.Float(name, low, high, sampling="log" if log else "linear")
        step = step[0] if step else 1
        values = [round(low + index * step, 10) for index in range(int((high - low) / step + 1e-9) + 1)]
    if isinstance(values, list):
        kind = float if any(isinstance(value, float) for value in values) else int
        return hp.Choice(name, list(dict.fromkeys(map(kind, values))))
    return values


def _value(part):
    part = part.strip().lower()
    if part in WORDS:
        return WORDS[part]
    return float(part) if not part.lstrip("+-").isdigit() else int(part)


def _word(value):
    return ("yes" if value else "no") if isinstance(value, bool) else str(value)
