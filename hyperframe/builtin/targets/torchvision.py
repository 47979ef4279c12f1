"""The target `torchvision`: any classification network of torchvision, traced; `torchvision:resnet18` for short."""

import inspect
from typing import Any

import attrs
from torch import nn

from hyperframe import Component, hookimpl, option, trace
from hyperframe.config.overrides import read_value
from hyperframe.errors import ConfigError, brief, others_code, unknown_name
from hyperframe.options import shown
from hyperframe.targets import Traced

OWN = ("weights", "weights_backbone", "num_classes", "progress")
"""Arguments that a user cannot set: no weights are downloaded, and the number of classes is an option."""


@attrs.frozen(kw_only=True)
class Options:
    """Options of the network."""

    model: str = option(help="its name in torchvision.models, such as resnet18")
    classes: int = option(10, "number of outputs; null: the task's", minimum=1, of_task="num_outputs")
    image_size: int = option(
        32,
        "height and width of the images, which have three channels; null: the task's",
        minimum=1,
        of_task="input_shape",
    )
    arguments: tuple[str, ...] = option((), "further arguments of the model, such as [width_mult=0.5]")


def build(options: Options) -> Traced:
    """Build the network without trained weights, auxiliary heads or stochastic depth."""
    from torchvision import models  # noqa: PLC0415  (slow to import)
    from torchvision.ops import StochasticDepth  # noqa: PLC0415

    names = models.list_models(module=models)
    if options.model not in names:
        raise ConfigError("target.model: " + unknown_name("model of torchvision", options.model, names))
    arguments = _arguments(options, models.get_model_builder(options.model))
    # Each of torchvision's builders checks its arguments in its own way.
    with others_code(lambda error: ConfigError(f"target: torchvision cannot build {options.model}: {brief(error)}")):
        module: nn.Module = models.get_model(options.model, weights=None, num_classes=options.classes, **arguments)
    for part in module.modules():
        if isinstance(part, StochasticDepth):
            part.p = 0.0
    return trace(module, (3, options.image_size, options.image_size), f"torchvision:{options.model}")


def _arguments(options: Options, builder: Any) -> dict[str, Any]:
    arguments: dict[str, Any] = {}
    if options.model in ("googlenet", "inception_v3"):
        arguments = {"aux_logits": False, "init_weights": False}
    if options.model.startswith("vit_"):
        arguments = {"image_size": options.image_size}
    if options.model.startswith("maxvit_"):
        arguments = {"input_size": (options.image_size, options.image_size)}
    for text in options.arguments:
        key, equals, value = text.partition("=")
        if not equals or not key.isidentifier():
            raise ConfigError(f"target.arguments: expected KEY=VALUE, but got '{text}'")
        if key in OWN:
            raise ConfigError(f"target.arguments: '{key}' cannot be given; target.classes sets the number of outputs")
        arguments[key] = read_value(value, f"target.arguments: {shown(text)}")
    parameters = inspect.signature(builder).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters):
        for key in arguments:
            if key not in {parameter.name for parameter in parameters}:
                raise ConfigError(f"target.arguments: {options.model} has no argument '{key}'")
    return arguments


@hookimpl
def hyperframe_targets() -> list[Component]:
    """Register the target."""
    return [
        Component(
            name="torchvision",
            factory=build,
            options=Options,
            summary="a classification network of torchvision; torchvision:NAME for short",
        )
    ]
