"""Inspection of a Keras file: its contents, and which layers `load_model` supports."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from math import prod
from pathlib import Path
from typing import Any

from .._comparison.result import format_table
from .._core.errors import FileError
from ..graph.spec import LayerSpec, ModelSpec
from ..models.build import _Builder, build_model
from ..saving.configs.parse import parse_model_config
from ..saving.formats.open import open_weight_file
from ..saving.formats.weight_file import WeightFile
from ..saving.weights.saved_layers_by_config import Names, SourceLayer, group_by_layer


@dataclass(frozen=True)
class WeightSummary:
    """One array of a file; the name is None if the file has none."""

    name: str | None
    path: str
    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class LayerSummary:
    """One layer, or the arrays of one group that belong to no layer."""

    name: str | None  # after those of the models around it
    kind: str | None  # the class, or the group's name in snake_case if there is no config
    path: str | None
    weights: tuple[WeightSummary, ...]
    parameters: int
    supported: bool | None  # by `load_model`; None if there is no config
    problem: str | None


@dataclass(frozen=True)
class FileSummary:
    """The contents of a file; what the file does not state is None."""

    file: str
    format: str
    keras_version: str | None
    backend: str | None
    model: str | None  # the class
    name: str | None
    layers: tuple[LayerSummary, ...]  # those of the config first
    parameters: int
    ignored: tuple[str, ...]  # paths that are not loaded, such as the optimizer's state
    notes: tuple[str, ...]  # what was repaired to read it
    loads: bool  # whether `load_model` supports the config
    problem: str | None

    def to_dict(self) -> dict[str, Any]:
        """Return the summary ready for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Return a table."""
        by = f", by Keras {self.keras_version}" if self.keras_version else ""
        on = f" on {self.backend}" if self.backend else ""
        lines = [f"{self.file}: {self.format}{by}{on}"]
        if self.model is not None:
            lines.append(f"model: {self.model}{f' {self.name!r}' if self.name else ''}")
        heads = ("layer", "class", "parameters", "weights", "in the file", "")
        lines.extend(format_table(heads, *map(_format_cells, self.layers)))
        lines.append(f"parameters: {self.parameters:,}")
        if self.ignored:
            lines.append(f"not loaded: {', '.join(self.ignored)}")
        lines.extend(f"note: {note}." for note in self.notes)
        if self.loads:
            where = "" if self.parameters else ", with its weights from another file if it has some"
            lines.append(f"load_model supports this model{where}.")
        else:
            lines.append(f"load_model does not support it: {self.problem}")
        return "\n".join(lines)


def inspect(path: Path) -> FileSummary:
    """Return the contents of a file or directory, without allocating weights or reading arrays."""
    with open_weight_file(path) as contents:
        spec, problem = _parse_spec(contents)
        layers = tuple(_summarize_layers(contents, spec))
        config = contents.config
        stated = config.get("class_name") if isinstance(config, Mapping) else None
        kind = stated if isinstance(stated, str) else None
        return FileSummary(
            file=contents.source,
            format=contents.format,
            keras_version=contents.version,
            backend=contents.backend,
            model=kind if spec is None else spec.kind,
            name=None if spec is None else spec.name,
            layers=layers,
            parameters=sum(layer.parameters for layer in layers),
            ignored=contents.ignored,
            notes=contents.notes,
            loads=problem is None,
            problem=problem,
        )


def _parse_spec(contents: WeightFile) -> tuple[ModelSpec | None, str | None]:
    """Return the model's config, and the reason if the model cannot be loaded."""
    if contents.config is None:
        return None, f"{contents.missing_config}. Build the model yourself and call `load_weights`."
    spec = None
    try:
        spec = parse_model_config(contents.config, contents.source, contents.version)
        build_model(spec)
    except FileError as error:
        return spec, str(error)
    return spec, None


def _summarize_layers(contents: WeightFile, spec: ModelSpec | None) -> Iterator[LayerSummary]:
    saved = group_by_layer(contents, spec).layers
    shown = set()
    if spec is not None:
        by_names = {one.names: one for one in saved if one.names}
        builder = _Builder(spec.source, {}, {})
        for names, layer in _walk_specs(spec, ()):
            one = by_names.get(names, SourceLayer(names, "", ()))
            shown.add(names)
            yield _summarize_layer(one, layer.class_name, _find_problem(builder, layer, names))
    problem = None if spec is None else "it matches no layer of the config"
    yield from (_summarize_layer(one, None, problem) for one in saved if one.names not in shown)


def _walk_specs(model: ModelSpec, outer: Names) -> Iterator[tuple[Names, LayerSpec]]:
    for layer in model.layers:
        names = (*outer, layer.name)
        yield names, layer
        if layer.model is not None:
            yield from _walk_specs(layer.model, names)


def _find_problem(builder: _Builder, layer: LayerSpec, names: Names) -> str | None:
    """Return the reason if a layer cannot be rebuilt."""
    if layer.model is not None or layer.alias is not None:
        return None
    builder.problems.clear()
    builder.make_module(layer, names)
    label = f"{'/'.join(names)!r} ({layer.class_name}):"
    return builder.problems[0].removeprefix(label).strip() if builder.problems else None


def _summarize_layer(one: SourceLayer, kind: str | None, problem: str | None) -> LayerSummary:
    return LayerSummary(
        name="/".join(one.names) or None,
        kind=kind or one.kind,
        path=one.path if one.weights else None,
        weights=tuple(WeightSummary(w.name, w.path, w.shape, w.dtype) for w in one.weights),
        parameters=sum(prod(weight.shape) for weight in one.weights),
        supported=None if kind is None and problem is None else problem is None,
        problem=problem,
    )


def _format_cells(layer: LayerSummary) -> tuple[str, ...]:
    weights = [
        f"{weight.name or weight.path.rpartition('/')[2]} {weight.shape} {weight.dtype}"
        for weight in layer.weights
    ]
    return (
        layer.name or "",
        layer.kind or "",
        f"{layer.parameters:,}" if layer.weights else "",
        ", ".join(weights),
        layer.path or "",
        layer.problem or "",
    )
