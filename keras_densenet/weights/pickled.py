"""What a pickle holds, found without unpickling it: objects become records, and no class or function is ever looked up.

The opcodes are those of Python's own pickletools.
"""

import contextlib
import pickle
import pickletools
import struct
from collections.abc import Callable
from typing import Any

_DAMAGE = (ArithmeticError, AttributeError, EOFError, LookupError, RecursionError, TypeError, ValueError, struct.error)
ADVICE = "use a file of the network's state_dict() alone, from a source that you trust"


class Refused(Exception):
    """Says what a file is that is not read, in words that go on after its path."""


class Name(str):
    """Of a class or a function."""


class Kinds(dict):
    """Kinds of numbers by their names; any other is refused by name."""

    def __missing__(self, name):
        raise Refused(f"holds {name[:100]!r}, not plain numbers: {ADVICE}")


class Record(dict):
    """Stands for an object: the name of its class, its state, or else its arguments, and its items if it has any."""

    __slots__ = ("name", "state")

    def __init__(self, name, state):
        self.name, self.state = name, state


def call(name, args, calls):
    """What a listed function gives; any other is refused by name."""
    if not isinstance(name, Name) or name not in calls:
        called = repr(name[:100]) if isinstance(name, Name) else "something"
        raise Refused(f"would call {called} when it is unpickled, which is never done here: {ADVICE}")
    return Record(name, args) if calls[name] is None else calls[name](*args)


def longest(size):
    """How many bytes of a file may be pickles, whose strings take several times as much once they are read."""
    return 2**20 + size // 8


def opcodes(value):
    """What makes a string, a number or a tuple of them in a pickle of protocol 2."""
    return pickle.dumps(value, protocol=2)[2:-1]


@contextlib.contextmanager
def damage_told():
    """Turns what damaged files end in into an OSError."""
    try:
        yield
    except (*_DAMAGE, Warning) as error:  # pickletools warns of odd escapes
        raise OSError(f"it is damaged: {str(error)[:200]} ({type(error).__name__})") from None


def unpickle(stream, calls, persistent, size):
    """Reads one pickle from a stream.

    Args:
        stream: which is left behind the pickle.
        calls: `{name of a function: what is called instead}`; None makes a record of it.
        persistent: gets the parts of a persistent id, and gives what it stands for.
        size: of the whole file in bytes, to which the number of objects is bound.

    Raises:
        Refused: if it would call what is not in `calls`, or has too many objects.
        Exception: of the kinds that `damage_told` knows, if it is damaged.
    """
    stack, marked, memo = [], [], {}
    for count, (opcode, arg, _) in enumerate(pickletools.genops(stream)):
        if count > 50_000 + size // 32:  # some 100 bytes of memory each
            raise Refused(f"pickles more objects than a file of weights has: {ADVICE}")
        name, items = opcode.name, []
        if name in _MARKED:
            stack, items = marked.pop(), stack
        match name:
            case _ if name in _VALUES:
                stack.append(arg)
            case "PUT" | "BINPUT" | "LONG_BINPUT" | "MEMOIZE":
                memo[len(memo) if arg is None else arg] = stack[-1]
            case "GET" | "BINGET" | "LONG_BINGET":
                stack.append(memo[arg])
            case "PROTO" | "FRAME" | "POP_MARK":
                pass
            case "STOP":
                break
            case "MARK":
                marked.append(stack)
                stack = []
            case "POP":
                stack.pop()
            case "DUP":
                stack.append(stack[-1])
            case "GLOBAL":
                stack.append(Name(arg.replace(" ", ".", 1)))
            case "STACK_GLOBAL":
                if max(map(len, stack[-2:])) > 1000:
                    raise ValueError("a class has too long a name")
                stack[-2:] = [Name(".".join(stack[-2:]))]
            case "TUPLE":
                stack.append(tuple(items))
            case "TUPLE1" | "TUPLE2" | "TUPLE3":
                length = int(name[-1])
                stack[-length:] = [tuple(stack[-length:])]
            case "LIST" | "FROZENSET":
                stack.append(items)
            case "DICT":
                stack.append(_dict(items))
            case "APPEND" | "APPENDS" | "ADDITEMS":
                items = [stack.pop()] if name == "APPEND" else items
                target = stack[-1]
                target.extend(items) if isinstance(target, list) else target.update(enumerate(items, len(target)))
            case "SETITEM" | "SETITEMS":
                items = [stack.pop(-2), stack.pop()] if name == "SETITEM" else items
                stack[-1].update(_dict(items))
            case "NEWOBJ" | "NEWOBJ_EX":
                *_, args, kind = (stack.pop() for _ in opcode.stack_before)
                stack.append(Record(kind, args))
            case "REDUCE":
                args, function = stack.pop(), stack.pop()
                stack.append(call(function, args, calls))
            case "INST" | "OBJ":
                call(Name(arg.replace(" ", ".", 1)) if arg else items[0], (), {})
            case "BUILD":
                state, target = stack.pop(), stack[-1]
                if isinstance(target, Record):
                    target.state = state
            case "BINPERSID":
                stack.append(persistent(*stack.pop()))
            case _ if name in _NEW:
                stack.append(_NEW[name]())
            case _:
                raise Refused(f"pickles what no file of tensors has ({name}): {ADVICE}")
    return stack.pop()


_NEW: dict[str, Callable[[], Any]] = {
    **{"EMPTY_DICT": dict, "EMPTY_LIST": list, "EMPTY_SET": list, "EMPTY_TUPLE": tuple},
    **{"NONE": lambda: None, "NEWTRUE": lambda: True, "NEWFALSE": lambda: False},
}
_MARKED = {opcode.name for opcode in pickletools.opcodes if pickletools.markobject in opcode.stack_before}
_VALUES = {"INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "STRING", "BINSTRING"}
_VALUES |= {"SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES"}
_VALUES |= {"BINBYTES8"}


def _dict(items):
    """A key that is no string or number has no name and is an object of its own: a tuple's hash may take for ever."""
    named = (key if isinstance(key, (str, int, float, bytes, type(None))) else object() for key in items[::2])
    return dict(zip(named, items[1::2], strict=True))


def _ordered_dict(pairs=()):
    made = _dict([part for key, value in pairs for part in (key, value)])
    if pairs:
        pairs.clear()  # or a pickle would grow by naming one list again and again
    return made


def _numpy_dtype(kind, *others):
    if not isinstance(kind, str) or "O" in kind:
        raise Refused(f"holds a numpy array of objects, not of numbers: {ADVICE}")
    return Record("numpy.dtype", ())


_HELD = ["torch.device", "pathlib.PosixPath", "pathlib.WindowsPath", "collections.defaultdict", "collections.Counter"]
_HELD += ["_codecs.encode", "copy_reg._reconstructor", "copyreg._reconstructor", "__builtin__.bytes", "builtins.bytes"]
_HELD += [f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")]
_SETS = [f"{module}.{name}" for module in ("__builtin__", "builtins") for name in ("set", "frozenset")]
HARMLESS: dict[str, Callable[..., Any] | None] = {
    "collections.OrderedDict": _ordered_dict,
    "numpy.dtype": _numpy_dtype,
    **dict.fromkeys(_HELD),
    **dict.fromkeys(["torch.Size", *_SETS], lambda items=(): items),
}
