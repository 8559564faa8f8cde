"""Load Keras's weights into a module: everything is matched, then read, then copied."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from .._core import arguments
from .._core.errors import FileError, argument_error
from .._core.registry import LAYERS
from ..graph.spec import ModelSpec
from ..models.functional import Model
from .configs.parse import parse_model_config
from .formats.byte_range import Progress
from .formats.in_memory import is_keras_object
from .formats.open import open_weight_file
from .formats.weight_file import WeightFile
from .matching.copy import copy_weights, end_laziness
from .matching.load_plan import LoadPlan, list_missing_entries, list_unused_entries
from .matching.matcher import Matcher
from .matching.own_modules import THREE_WAYS
from .report import LoadEntry, LoadReport
from .weights.saved_layers_by_config import group_by_layer

_MAPPING = "Say which is which with `mapping={module path: saved layer, or None to leave it out}`"
_REMEDY = f"{_MAPPING}, or load what fits with `strict=False`."
_MOST_LINES = 40  # of what does not fit, in one message
_COMPUTE = "Make the modules compute what the source's layers do"
_DIFFERENCES = f"{_COMPUTE}, or load their weights all the same with `strict=False`."


def load_weights(
    module: nn.Module,
    source: Any,
    *,
    by: str | None = None,
    mapping: Mapping[str, str | None] | None = None,
    strict: bool = True,
    progress: Progress | None = None,
) -> LoadReport:
    """Load Keras's weights into a module, all of them or none.

    The module may consist of layers of kerastorch, built or not, and of those layers of `torch.nn`
    that Keras has. Parameters are written in place, so that an optimizer keeps them. All arrays are
    read before one is copied, which needs the memory of the weights twice; unbuilt layers get the
    arrays themselves.

    Where the source has a config, each module is compared with its saved layer: strides, padding,
    epsilon and so on; what your own module does between layers is not compared.

    HDF5's C library reads the headers of HDF5 files in this process: load untrusted files in a
    process with few rights.

    Args:
        module: The module.
        source: The path of a Keras file or directory, a TensorFlow checkpoint's path without
            `.index`, a Keras layer or model in memory, a list of arrays as `get_weights()` returns
            it, or a dict of arrays by path.
        by: "name" to match modules and saved layers of the same name, "order" to match them in
            order; None for the first that fits: names, names and the order of the rest, order.
        mapping: Module paths -> the names or paths of saved layers, or None for modules that stay
            unchanged; also parameter paths -> array paths. The rest is matched according to `by`.
        strict: Whether everything on both sides must match, and compute the same. Otherwise what
            fits is loaded, and the report lists what was left out, and why: layers that the
            source lacks, and those of another shape, such as a new head.
        progress: Called with the number of bytes as the arrays are read.

    Returns:
        What was loaded from where. Possible numerical differences from Keras are also warned of.

    Raises:
        FileError: the file is refused, or its weights do not fit; the module is unchanged.
        TypeError: `module` or `mapping` has another type.
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
        raise TypeError(argument_error(owner, "module", "a torch.nn.Module", type(module)))
    if by is not None:
        by = arguments.as_choice(owner, "by", by, ("name", "order"))
    entries = mapping.items() if isinstance(mapping, Mapping) else ()
    strings = all(isinstance(key, str) and isinstance(to, str | None) for key, to in entries)
    if not isinstance(mapping, Mapping | None) or not strings:
        rule = "a dict of paths to paths, names or None; or None"
        raise TypeError(argument_error(owner, "mapping", rule, mapping))
    source = arguments.as_path(owner, "source", source)
    with open_source(source, progress) as opened:
        contents = _as_model(opened, source)
        plan = _find_plan(module, contents, by, mapping, strict)
        copy_weights(plan, contents.source)
    end_laziness(module)
    report = _make_report(contents, plan, strict)
    warn_about(contents.source, owner, report.warnings, stacklevel=3)
    return report


def warn_about(source: str, owner: str, cautions: Sequence[str], *, stacklevel: int) -> None:
    """Warn of possible numerical differences from Keras, in one warning."""
    if cautions:
        lines = "\n".join(f"  {line}" for line in cautions)
        warnings.warn(f"{source}: {owner}:\n{lines}", stacklevel=stacklevel)


@contextmanager
def open_source(source: Any, progress: Progress | None) -> Iterator[WeightFile]:
    """Open a source; tensors made meanwhile have no gradients, but may require them later."""
    with (
        torch.inference_mode(False),
        torch.no_grad(),
        open_weight_file(source, progress=progress) as contents,
    ):
        yield contents


def _as_model(contents: WeightFile, source: Any) -> WeightFile:
    """Return a single live layer as a model of it, so that its config is compared as well."""
    if not is_keras_object(source) or contents.config is not None:
        return contents
    paths = [layer.path for layer in contents.layers]
    if paths != [""] and type(source).__name__ not in LAYERS:  # it has layers of its own
        return contents
    try:
        layer = {"class_name": type(source).__name__, "config": source.get_config()}
    except (NotImplementedError, TypeError, ValueError):  # it has no config
        return contents
    content: dict[str, Any] = {"name": "model", "layers": [layer]}
    if (contents.version or "").startswith("3"):
        content["trainable"] = True  # as in configs of Keras 3 only
    config = {"class_name": "Sequential", "config": content}
    name = source.name or ""
    layers = (replace(one, path=f"{name}/{one.path}".rstrip("/")) for one in contents.layers)
    return replace(contents, config=config, layers=tuple(layers))


def _find_plan(
    module: nn.Module,
    contents: WeightFile,
    by: str | None,
    mapping: Mapping[str, str | None] | None,
    strict: bool,
) -> LoadPlan:
    """Return the first plan that fits completely, or raise all that is wrong."""
    cautions, spec = list(contents.notes), None
    if contents.config is not None:
        try:
            spec = parse_model_config(contents.config, contents.source, contents.version)
        except FileError as error:
            cautions.append(f"the config was not used: {error}")
    make_matcher = partial(Matcher, module, contents, mapping=mapping, lenient=not strict)
    attempts = []
    if isinstance(module, Model) and by is None:
        # Layers can be replaced and changed, so that they may differ from the model's config.
        source = group_by_layer(contents, module.spec if spec is None else spec)
        automatic = spec is None or _list_names(spec) == _list_names(module.spec)
        matcher = make_matcher(source=source, automatic=automatic, compares=spec is not None)
        attempts.append((matcher, "structure"))
    matcher = make_matcher(source=group_by_layer(contents, spec), automatic=by == "name")
    hows = ("name", "name and order", "order") if by is None else (by,)
    attempts += [(matcher, how) for how in hows]
    tried: list[LoadPlan] = []
    for matcher, how in attempts:
        if not tried or (not tried[-1].fits and _is_worth_trying(how, tried, strict, mapping)):
            tried.append(matcher.match(how))
    plan = tried[-1] if tried[-1].fits else _choose_closest(tried)
    if plan.how.endswith("order") and by is None and not strict:
        plan.problems += _list_unmatched(contents, plan)
    plan.warnings[:0] = cautions
    remedy = _REMEDY if strict else f"{_MAPPING}."
    require_complete(module, contents, plan, strict, (remedy, _DIFFERENCES))
    return plan


def _list_names(spec: ModelSpec) -> list[Any]:
    """Return the names of a model's layers, including those of nested models."""
    return [(one.name, _list_names(one.model) if one.model else ()) for one in spec.layers]


def _is_worth_trying(
    how: str, tried: list[LoadPlan], strict: bool, mapping: Mapping[str, str | None] | None
) -> bool:
    """Return whether to try another way: an order only if it contradicts no names found."""
    named = any(plan.assignments for plan in tried)
    if not how.endswith("order"):
        return True
    if not strict and any(plan.assignments and not plan.problems for plan in tried):
        return False
    if how == "name and order":
        return named
    return not (named and None in (mapping or {}).values())


def _choose_closest(tried: list[LoadPlan]) -> LoadPlan:
    """Return the first plan by names that found anything, else the last one."""
    by_names = [plan for plan in tried if not plan.how.endswith("order")]
    found = (plan for plan in by_names if plan.assignments or (plan.skipped and plan.problems))
    return next(found, tried[-1])


def _list_unmatched(contents: WeightFile, plan: LoadPlan) -> list[str]:
    """Return a line for each parameter without an array, and each array without a parameter."""
    source = "source" if contents.format.endswith("in memory") else "file"
    missing = [("missing", e, e.target, f"is not in the {source}") for e in plan.missing]
    unexpected = [("unexpected", e, e.source, "matches no parameter") for e in plan.unexpected]
    return [
        f"{word}: {path}{'' if entry.shape is None else f' {entry.shape}'} {what}"
        for word, entry, path, what in missing + unexpected
    ]


def require_complete(
    module: nn.Module, contents: WeightFile, plan: LoadPlan, strict: bool, remedies: tuple[str, str]
) -> None:
    """Raise one error with all that is wrong: `remedies` are for what does not fit, and differs."""
    lines = list(plan.problems)
    if strict:
        lines += plan.hints + plan.strict + _list_unmatched(contents, plan)
    if not (plan.assignments or plan.calls or lines):
        lines.append("nothing was found to load")
        lines += [reason for one in plan.skipped for reason in one.reasons]
        lines += _list_unmatched(contents, plan)
    advice = [remedies[0]] if len(lines) > len(plan.own_mismatched) else []
    if plan.own_mismatched:
        advice.append(THREE_WAYS)
    if strict and plan.differences:
        lines += plan.differences
        advice.append(remedies[1])
    if lines:
        what = f"does not fit {type(module).__name__}, matched by {plan.how}"
        more = [f"  and {len(lines) - _MOST_LINES} more"] if len(lines) > _MOST_LINES else []
        told = [f"  {line}" for line in lines[:_MOST_LINES]]
        shown = "\n".join([*told, *more, " ".join(advice)])
        raise FileError(f"{contents.source}: {what}; nothing was changed.\n{shown}")


def _make_report(contents: WeightFile, plan: LoadPlan, strict: bool) -> LoadReport:
    loaded = []
    for pair in plan.assignments:
        if pair.weight is None:
            loaded.append(LoadEntry(pair.path, "(zero)", pair.target.shape, ""))
        else:
            weight = pair.weight
            loaded.append(LoadEntry(pair.path, weight.path, weight.shape, weight.dtype))
    for call in plan.calls:
        for weight in call.weights.values():
            loaded.append(LoadEntry(call.path, weight.path, weight.shape, weight.dtype))
    missing, unused = list(plan.missing), plan.unexpected + plan.left_out
    warned = plan.warnings + ([] if strict else plan.strict + plan.differences)
    for one in plan.skipped:
        missing += list_missing_entries(one.leaf, one.leaf.targets)
        unused += list_unused_entries(one.saved.weights)
        warned.append(f"{one.leaf.title} is left as it is: {one.reasons[0]}")
    lists = tuple(loaded), tuple(unused), tuple(missing), tuple(warned)
    return LoadReport(contents.source, contents.format, plan.how, *lists)
