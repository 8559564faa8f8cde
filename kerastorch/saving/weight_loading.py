"""Loading Keras's weights into a module: everything is matched, then read, then copied."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from .._core import arguments
from .._core.errors import FileError, problem
from ..graph.spec import ModelSpec
from ..models.functional import Model
from .configs.parse import parse_model
from .formats.in_memory import is_live
from .formats.open import open_contents
from .formats.weight_file import Contents
from .matching.copy import copy_weights
from .matching.load_plan import LoadPlan, missing_entries, unused_entries
from .matching.matcher import Matcher
from .matching.own_modules import THREE_WAYS
from .report import LoadEntry, LoadReport
from .weights.saved_layers_by_config import saved_layers

Progress = Callable[[int], object]
_MAPPING = "Say which is which with `mapping={module path: saved layer, or None to leave it out}`"
_REMEDY = f"{_MAPPING}, or load what fits with `strict=False`."
_DIFFERENCES = (
    "Make the modules compute what the source's layers do, or load their weights all the same with "
    "`strict=False`."
)


def load_weights(
    module: nn.Module,
    source: Any,
    *,
    by: str | None = None,
    mapping: Mapping[str, str | None] | None = None,
    strict: bool = True,
    progress: Progress | None = None,
) -> LoadReport:
    """Load weights of Keras into a module, all of them or none.

    The module may consist of layers of kerastorch, built or not, and of those of `torch.nn` that
    Keras has, too. Parameters are written in place, so that an optimizer keeps them. Everything
    is compared first; then the arrays are read beside the parameters, one at a time, and copied
    at last, so that a file that is damaged in its middle changes nothing. That takes the memory
    of the weights a second time; layers that are not built yet get the arrays themselves.

    Where the source has a config, each layer with weights is compared with the module that takes
    them: strides, padding, epsilon and the like. What is between them in a module of your own,
    activations, pooling and the order of the calls, is not.

    The headers of HDF5 files are read by HDF5's C library in this process: load what comes from
    strangers in a process with few rights.

    Args:
        module: What to load into.
        source: The path of a file or directory of Keras's, a Keras layer or model in memory, a
            list of arrays as `get_weights()` returns it, or a dict of arrays by path.
        by: "name" for modules and saved layers of the same name, "order" for the order in which
            both come; None for what fits: names, or else names and the order of the rest, or else
            the order alone.
        mapping: Module paths -> the names or paths of saved layers, or None for modules to leave
            as they are; also the paths of parameters -> the paths of arrays. The rest is matched
            as `by` says.
        strict: Whether everything on both sides must find its place, and compute the same.
            Otherwise what fits is loaded, and the report lists what was left as it was, and why:
            layers that the source lacks, and those of another shape, such as a new head.
        progress: Called with the number of bytes as the arrays are read.

    Returns:
        What was loaded from where. What may make numbers differ from Keras's is also warned of.

    Raises:
        FileError: the file is refused, or its weights do not fit; the module is unchanged.
        ValueError: an argument is refused, or weights in memory do not fit.

    Example:
        >>> import numpy as np
        >>> model = nn.Sequential(nn.Linear(3, 2), nn.ReLU())
        >>> report = load_weights(model, [np.ones((3, 2), "float32"), np.zeros(2, "float32")])
        >>> print(report)
        arrays (arrays in memory), matched by order
        0.weight  0  (3, 2)  float32
        0.bias    1  (2,)    float32
    """
    owner = load_weights.__name__
    if not isinstance(module, nn.Module):
        raise TypeError(problem(owner, "module", "a torch.nn.Module", type(module)))
    if by is not None:
        by = arguments.choice(owner, "by", by, ("name", "order"))
    entries = mapping.items() if isinstance(mapping, Mapping) else ()
    strings = all(isinstance(key, str) and isinstance(to, str | None) for key, to in entries)
    if not isinstance(mapping, Mapping | None) or not strings:
        rule = "a dict of paths to paths, names or None; or None"
        raise TypeError(problem(owner, "mapping", rule, mapping))
    source = arguments.path(owner, "source", source)
    with reading(source, progress) as opened:
        contents = _as_model(opened, source)
        match = _matched(module, contents, by, mapping, strict)
        copy_weights(match, contents.source)
    report = _report(contents, match, strict)
    warn_of(contents.source, owner, report.warnings, stacklevel=3)
    return report


def warn_of(source: str, owner: str, cautions: Sequence[str], *, stacklevel: int) -> None:
    """Warn of what may make numbers differ from Keras's, in one warning."""
    if cautions:
        lines = "\n".join(f"  {line}" for line in cautions)
        warnings.warn(f"{source}: {owner}:\n{lines}", stacklevel=stacklevel)


@contextmanager
def reading(source: Any, progress: Progress | None) -> Iterator[Contents]:
    """Open a source; the tensors made meanwhile are without gradients, and can have them later."""
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        open_contents(source, progress=progress) as contents,
    ):
        yield contents


def _as_model(contents: Contents, source: Any) -> Contents:
    """Return a single live layer as a model of it, so that its config is compared as well."""
    alone = contents.layers[0] if len(contents.layers) == 1 else None
    if not is_live(source) or contents.config is not None or alone is None or alone.path:
        return contents
    try:
        layer = {"class_name": type(source).__name__, "config": source.get_config()}
    except (NotImplementedError, TypeError, ValueError):  # a layer that cannot say it
        return contents
    content: dict[str, Any] = {"name": "model", "layers": [layer]}
    if (contents.version or "").startswith("3"):
        content["trainable"] = True  # which tells a config of Keras 3 from one of Keras 2
    config = {"class_name": "Sequential", "config": content}
    return replace(contents, config=config, layers=(replace(alone, path=alone.name or ""),))


# Matching


def _matched(
    module: nn.Module,
    contents: Contents,
    by: str | None,
    mapping: Mapping[str, str | None] | None,
    strict: bool,
) -> LoadPlan:
    """Return the first match by which everything fits, or raise all that is wrong with it."""
    cautions, spec = [], None
    if contents.config is not None:
        try:
            spec = parse_model(contents.config, contents.source, contents.version)
        except FileError as error:
            cautions.append(f"the config was not used: {error}")
    make_matcher = partial(Matcher, module, contents, mapping=mapping, lenient=not strict)
    attempts = []
    if isinstance(module, Model) and by is None:
        # The layers may differ from the model's own config: they can be replaced and changed.
        source = saved_layers(contents, module.spec if spec is None else spec)
        automatic = spec is None or _names_in(spec) == _names_in(module.spec)
        matcher = make_matcher(source=source, automatic=automatic, compares=spec is not None)
        attempts.append((matcher, "structure"))
    source = saved_layers(contents, spec)
    matcher = make_matcher(source=source, automatic=by == "name")
    hows = ("name", "name and order", "order") if by is None else (by,)
    attempts += [(matcher, how) for how in hows]
    tried: list[LoadPlan] = []
    for matcher, how in attempts:
        if not tried or (not tried[-1].fits and _is_worth_trying(how, tried, strict, mapping)):
            tried.append(matcher.match(how))
    match = tried[-1] if tried[-1].fits else _closest(tried)
    if match.how.endswith("order") and by is None and (match.missing or match.unexpected):
        match.problems += _list_unmatched(contents, match) if not strict else []
    match.warnings[:0] = cautions
    require(module, contents, match, strict, _REMEDY if strict else f"{_MAPPING}.", _DIFFERENCES)
    return match


def _names_in(spec: ModelSpec) -> list[Any]:
    """Return the names of a model's layers, those of nested models included."""
    return [
        layer.name if layer.model is None else (layer.name, _names_in(layer.model))
        for layer in spec.layers
    ]


def _is_worth_trying(
    how: str, tried: list[LoadPlan], strict: bool, mapping: Mapping[str, str | None] | None
) -> bool:
    """Return whether to go on with another way of matching, after those that did not fit.

    Names are always looked at. An order is, where it does not go against names that were found.
    """
    named = any(match.assignments for match in tried)
    if not how.endswith("order"):
        return True
    if not strict and any(match.assignments and not match.problems for match in tried):
        return False
    if how == "name and order":
        return named
    return not (named and None in (mapping or {}).values())


def _closest(tried: list[LoadPlan]) -> LoadPlan:
    """Return the first match by names that found anything, else the last one."""
    by_names = [match for match in tried if not match.how.endswith("order")]
    found = (match for match in by_names if match.assignments or (match.skipped and match.problems))
    return next(found, tried[-1])


def _list_unmatched(contents: Contents, match: LoadPlan) -> list[str]:
    """Return a line for each parameter without an array, and for each array without a parameter."""
    place = "source" if contents.format.endswith("in memory") else "file"
    missing = [(entry, entry.target, f"is not in the {place}") for entry in match.missing]
    unexpected = [(entry, entry.source, "matches no parameter") for entry in match.unexpected]
    return [
        f"{word}: {path}{'' if entry.shape is None else f' {entry.shape}'} {what}"
        for word, entries in (("missing", missing), ("unexpected", unexpected))
        for entry, path, what in entries
    ]


def require(
    module: nn.Module,
    contents: Contents,
    match: LoadPlan,
    strict: bool,
    remedy: str,
    differences_remedy: str,
) -> None:
    """Raise all that is wrong with a match, in one error.

    Args:
        module: What was matched.
        contents: With what.
        match: How.
        strict: Whether everything on both sides must find its place.
        remedy: What to do where something finds no place.
        differences_remedy: What to do where modules compute something else than the layers.

    Raises:
        FileError: something is wrong.
    """
    lines = list(match.problems)
    if strict:
        lines += match.hints + match.strict + _list_unmatched(contents, match)
    if not (match.assignments or match.calls or lines):
        lines.append("nothing was found to load")
        lines += [reason for one in match.skipped for reason in one.reasons]
        lines += _list_unmatched(contents, match)
    remedies = [remedy] if len(lines) > len(match.own_mismatched) else []
    if match.own_mismatched:
        remedies.append(THREE_WAYS)
    if strict and match.differences:
        lines += match.differences
        remedies.append(differences_remedy)
    if lines:
        what = f"does not fit {type(module).__name__}, matched by {match.how}"
        shown = "\n".join(f"  {line}" for line in lines)
        message = f"{contents.source}: {what}; nothing was changed.\n{shown}\n{' '.join(remedies)}"
        raise FileError(message)


def _report(contents: Contents, match: LoadPlan, strict: bool) -> LoadReport:
    loaded = []
    for pair in match.assignments:
        weight = pair.weight
        shape = pair.target.shape if weight is None else weight.shape
        kind = "" if weight is None else weight.dtype
        source = "(zero)" if weight is None else weight.path
        loaded.append(LoadEntry(pair.path, source, shape, kind))
    for call in match.calls:
        for weight in call.weights.values():
            loaded.append(LoadEntry(call.path, weight.path, weight.shape, weight.dtype))
    missing, unused = list(match.missing), match.unexpected + match.left_out
    left = [] if strict else match.strict + match.differences
    warned = match.warnings + left
    for one in match.skipped:
        missing += missing_entries(one.leaf, one.leaf.targets)
        unused += unused_entries(one.saved.weights)
        warned = [*warned, f"{one.leaf.path or 'the module'} is left as it is: {one.reasons[0]}"]
    return LoadReport(
        contents.source,
        contents.format,
        match.how,
        tuple(loaded),
        tuple(unused),
        tuple(missing),
        tuple(warned),
    )
