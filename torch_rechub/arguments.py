"""Arguments of the public face: an unknown one is named with the closest one, and numbers of numpy are numbers."""

from __future__ import annotations

import functools
import inspect
import math
import numbers
import operator
from collections.abc import Callable, Mapping, Sequence
from difflib import get_close_matches
from typing import Any, TypeVar

__all__ = [
    "check_keywords",
    "choice",
    "closest",
    "named_arguments",
    "optional_name",
    "positive_number",
    "probability",
    "unknown_argument",
    "whole_number",
]

Public = TypeVar("Public", bound=Callable[..., Any])

_ANY_NUMBER = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
#: What users of other libraries write -> what to write here.
REMEDIES = {
    "lr": 'Give optimizer_params={"lr": ...}.',
    "learning_rate": 'Give optimizer_params={"lr": ...}.',
    "weight_decay": 'Give optimizer_params={"lr": ..., "weight_decay": ...}.',
    "epochs": "Give n_epoch to the trainer.",
    "max_epochs": "Give n_epoch to the trainer.",
    "patience": "Give earlystop_patience to the trainer.",
    "batch_size": "Give it to generate_dataloader(batch_size=...).",
    "seed": "Give it to generate_dataloader(seed=...), and call torch.manual_seed before the model is made.",
    "optimizer": "Give optimizer_fn, a class such as torch.optim.Adam.",
    "scheduler": "Give scheduler_fn, a class such as torch.optim.lr_scheduler.StepLR, and scheduler_params.",
    "loss": "Assign trainer.criterion after the trainer is made.",
    "criterion": "Assign trainer.criterion after the trainer is made.",
    "logger": "Give model_logger.",
    "test_size": "Give split_ratio=(train share, validation share).",
    "hidden": 'Give dims, the widths of the hidden layers: {"dims": [256, 128]}.',
    "hidden_units": 'Give dims, the widths of the hidden layers: {"dims": [256, 128]}.',
}


def named_arguments(public: Public) -> Public:
    """A decorator of a public class or function: arguments that do not fit are an error that names it and the closest argument.

    A call that fits costs nothing but the call. Errors within the function pass unchanged. The class that is named is that of the object,
    so a subclass is named as what the caller wrote.

    Example:
        >>> @named_arguments
        ... class Box:
        ...     def __init__(self, width=1): ...
        >>> Box(widht=2)
        Traceback (most recent call last):
        TypeError: Box has no argument 'widht'. Did you mean 'width'?
    """
    if inspect.isclass(public):
        public.__init__ = _named(public.__init__)
        return public  # type: ignore[return-value]
    return _named(public)


def _named(function: Public) -> Public:
    if getattr(function, "_names_arguments", False):
        return function

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # from within the function
            message = _misfit(function, args, kwargs)
            if message is None:
                raise
            problem = TypeError(message)
        raise problem from None

    call._names_arguments = True  # type: ignore[attr-defined]
    return call  # type: ignore[return-value]


def _misfit(function: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> str | None:
    """Which argument does not fit, and what to write; None where the function's own error says it as well."""
    parameters = inspect.signature(function).parameters
    method = next(iter(parameters), "") in {"self", "cls"}
    owner = type(args[0]).__name__ if method and args else function.__qualname__
    name = owner if function.__name__ == "__init__" or not method else f"{owner}.{function.__name__}"
    known = {each: kind for each, kind in parameters.items() if each not in {"self", "cls"} and kind.kind not in _ANY_NUMBER}
    unknown = next((each for each in kwargs if each not in known), None)
    if unknown is not None:
        return unknown_argument(name, unknown, list(known))
    given = {*kwargs, *list(parameters)[: len(args)]}
    missing = [each for each, parameter in known.items() if parameter.default is parameter.empty and each not in given]
    if missing:
        return f"{name} needs the argument {_and(missing)}. Its arguments are {', '.join(known)}."
    twice = next((each for each in kwargs if each in list(parameters)[: len(args)]), None)
    if twice is not None:
        return f"{name} got the argument {twice!r} twice, by position and by name. Give it once."
    n_positional = sum(parameter.kind is not parameter.KEYWORD_ONLY for parameter in known.values())
    if len(args) - method > n_positional:
        return f"{name} takes {n_positional} arguments by position; got {len(args) - method}. Give the others by name."
    return None


def unknown_argument(name: str, unknown: str, known: Sequence[str]) -> str:
    """The error of an argument that ``name`` does not have."""
    close = closest(unknown, known) if unknown not in REMEDIES else []
    if not close and unknown not in REMEDIES:
        close = [each for each in known if len(unknown) > 1 and (unknown in each or each in unknown)][:2]
    remedy = f"Its arguments are {', '.join(known)}." if known else "It takes none."
    remedy = f"Did you mean {' or '.join(map(repr, close))}?" if close else REMEDIES.get(unknown, remedy)
    return f"{name} has no argument {unknown!r}. {remedy}"


def closest(given: str, known: Sequence[str]) -> list[str]:
    """The name that ``given`` was most likely meant to be, in a list; an empty list where none is close. Case does not count."""
    by_lower = {each.lower(): each for each in known}
    if given.lower() in by_lower:
        return [by_lower[given.lower()]]
    return [by_lower[each] for each in get_close_matches(given.lower(), list(by_lower), n=1)]


def choice(name: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse a value that is none of a few.

    Raises:
        ValueError: naming the argument, the choices and what came.
    """
    if not any(value is each or (type(value) is type(each) and value == each) for each in choices):
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}; got {value!r}.")


def _and(names: Sequence[str]) -> str:
    """Names in a sentence: 'a', 'b' and 'c'."""
    return " and ".join(filter(None, [", ".join(map(repr, names[:-1])), repr(names[-1])]))


def whole_number(
    name: str, value: Any, least: int = 1, instead: str = "", *, kind: str = "an integer", wrong_type: type[Exception] = ValueError
) -> int:
    """An integer of any numeric type, as Python's; a bool is refused.

    Args:
        name: of the argument.
        value: what was given.
        least: the smallest that is allowed.
        instead: the alternatives, a sentence for the end of the message.
        kind: what the message calls it.
        wrong_type: the error of what is no integer.

    Raises:
        ValueError: naming the argument, what must hold and what came.

    Example:
        >>> import numpy as np
        >>> whole_number("n_epoch", np.int64(3))
        3
    """
    message = f"{name} must be {kind} >= {least}; got {value!r}.{instead}"
    try:
        integer = operator.index(value)
    except TypeError:
        raise wrong_type(message) from None
    if isinstance(value, bool) or integer < least:
        raise ValueError(message)
    return integer


def optional_name(name: str, value: Any) -> None:
    """Refuse what is neither a text nor None.

    Raises:
        TypeError: naming the argument and what came.
    """
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{name} must be a name or None; got {value!r}.")


def positive_number(name: str, value: Any, instead: str = "") -> float:
    """A finite number above 0 of any numeric type, as Python's float.

    Raises:
        ValueError: naming the argument, what must hold and what came.
    """
    value = value.item() if callable(getattr(value, "item", None)) and getattr(value, "ndim", 1) == 0 else value  # of torch or numpy
    number = math.nan if isinstance(value, bool) or not isinstance(value, numbers.Real) else float(value)
    if not 0 < number < math.inf:
        raise ValueError(f"{name} must be a number > 0{instead}; got {value!r}.")
    return number


def probability(name: str, value: Any) -> float:
    """A number in [0, 1) of any numeric type, as Python's float: the probability of a dropout.

    Raises:
        ValueError: naming the argument, what must hold and what came.
    """
    value = value.item() if callable(getattr(value, "item", None)) and getattr(value, "ndim", 1) == 0 else value  # of torch or numpy
    number = math.nan if isinstance(value, bool) or not isinstance(value, numbers.Real) else float(value)
    if not 0 <= number < 1:
        raise ValueError(f"{name} must be >= 0 and < 1; got {value!r}. It is the probability of a zero, for example 0.1.")
    return number


def check_keywords(name: str, function: Callable[..., Any], given: Mapping[str, Any], first: int = 1) -> None:
    """Refuse keywords that a class does not take, and missing ones, before it is called.

    Args:
        name: what the error names.
        function: a class; nothing is checked of other functions, or where the signature cannot be read.
        given: the keywords.
        first: number of arguments that the caller gives by position.

    Raises:
        TypeError: naming the argument.
    """
    if not inspect.isclass(function):
        return
    try:
        parameters = list(inspect.signature(function).parameters.values())[first:]
    except (TypeError, ValueError):
        return
    known = [parameter.name for parameter in parameters if parameter.kind not in _ANY_NUMBER]
    if all(parameter.kind is not parameter.VAR_KEYWORD for parameter in parameters):
        for each in given:
            if each not in known:
                raise TypeError(unknown_argument(f"{name} of {function.__name__}", each, known))
    missing = [each.name for each in parameters if each.name in known and each.default is each.empty and each.name not in given]
    if missing:
        raise TypeError(f"{name} of {function.__name__} needs {_and(missing)}. Its arguments are {', '.join(known)}.")
