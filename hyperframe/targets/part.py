"""Part of a network: which parameters are generated, what all others keep, and the weights that a network begins at."""

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

import attrs
from torch import Tensor, nn

from hyperframe.errors import ConfigError, unknown_name
from hyperframe.options import option
from hyperframe.runtime.files import is_file, read_tensors, user_path
from hyperframe.targets.adapters import adaptable, add_adapters, given_names, is_of_adapter
from hyperframe.targets.aliases import own_names

PICKLES = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
"""How files begin that torch.save and pickle write."""

CONVERSION = (
    'python -c "import torch, safetensors.torch as s; s.save_file({k: v.clone().contiguous() for k, v in '
    "torch.load('OLD', weights_only=True).items()}, 'NEW.safetensors')\""
)


@attrs.frozen(kw_only=True)
class PartOptions:
    """Options of every target: which of its weights are generated, how, and from where."""

    generate: tuple[str | int, ...] = option(
        (),
        "what is generated: patterns of names of parameters, modules or layers, such as [layer4, fc.*]; empty: "
        "everything",
    )
    adapter: Literal["none", "lora"] = option(
        "none", "lora: changes of a low rank are generated, around the kernels of dense and convolution layers"
    )
    rank: int = option(8, "lora: the changes' rank", minimum=1)
    weights: bool | str = option(
        False,
        "trained weights of what is not generated, and where base points begin: a safetensors file of a state_dict; "
        "true: those that the network is made with",
        location=True,
    )

    @property
    def is_all(self) -> bool:
        """Whether the whole network is generated, as it is made."""
        return not self.keeps and not isinstance(self.weights, str)

    @property
    def keeps(self) -> bool:
        """Whether the network keeps weights that are not generated."""
        return bool(self.generate) or self.adapter != "none"

    def read_weights(self) -> dict[str, Tensor] | None:
        """Read the file of trained weights; None where there is none.

        Raises:
            ConfigError: it is a pickle, which could run code.
            RunError: there is no such file, or it is damaged.
        """
        return read_state(user_path(self.weights)) if isinstance(self.weights, str) else None


def read_state(path: Path) -> dict[str, Tensor]:
    """Read a state_dict from a safetensors file; a pickle is refused, with the way to convert it.

    Raises:
        ConfigError: it is a pickle.
        RunError: there is no such file, or it is damaged.
    """
    if is_file(path):
        with path.open("rb") as file:
            begins = file.read(4)
        if begins.startswith(PICKLES):
            raise ConfigError(
                f"target.weights: {path} is a pickle, which can run code when it is read. Convert it where you trust "
                f"it:\n{CONVERSION}"
            )
    return read_tensors(path)


def find_parameters(
    module: nn.Module, patterns: Sequence[str | int], where: str, layers: Mapping[str, Sequence[str]] | None = None
) -> list[str]:
    """Find the parameters that patterns name, each by the first of its names, in the module's order.

    A pattern is one of names, where `*` stands for any characters and `?` for one, or the name of a layer, or one of
    the names of modules; these stand for all their parameters.

    Args:
        module: the network.
        patterns: such as `["layer4", "fc.*"]`; numbers are names of modules of `nn.Sequential`.
        where: how messages begin.
        layers: of each layer the names of its parameters, where layers have names of their own.

    Raises:
        ConfigError: a pattern names none; the message has the closest names.

    Example:
        >>> net = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 2))
        >>> find_parameters(net, [2, "*.bias"], "target 'net'")
        ['0.bias', '2.weight', '2.bias']
    """
    own = own_names(module)
    first = {name: own[name] for name, _ in module.named_parameters(remove_duplicate=False)}
    found = set()
    for pattern in map(str, patterns):
        of_layer = (layers or {}).get(pattern, ())
        named = [name for name in first if _names(pattern, name) or name in of_layer]
        if not named:
            parts = {name.rpartition(".")[0] for name in first} - {""}
            known = [*first, *parts, *(layers or {})]
            raise ConfigError(f"{where}: target.generate: " + unknown_name("parameter", pattern, known))
        found |= {first[name] for name in named}
    return [name for name, _ in module.named_parameters() if name in found]


def _names(pattern: str, name: str) -> bool:
    return fnmatchcase(name, pattern) or fnmatchcase(name, f"{pattern}.*")


def names_by(choose: Callable[[str, nn.Parameter], bool], module: nn.Module) -> list[str]:
    """Find the names of a module's parameters that a function chooses, given each name and parameter."""
    return [name for name, value in module.named_parameters(remove_duplicate=False) if choose(name, value)]


def take_part(
    module: nn.Module,
    options: PartOptions,
    kept: Mapping[str, Tensor] | None,
    where: str,
    layers: Mapping[str, Sequence[str]] | None = None,
) -> nn.Module:
    """Copy a module so that only what is to be generated is trainable, with adapters where they are asked for.

    A layer without a kernel of its shape in the file of trained weights has no adapter, and is generated whole.

    Args:
        module: the whole network; it stays as it is.
        options: what is generated, how, and the file of trained weights.
        kept: constants that a run has kept of a target that this function made, which stand for the file.
        where: how messages begin.
        layers: see `find_parameters`.

    Raises:
        ConfigError: a pattern names nothing, no layer can have an adapter, or the file is of another network.
        RunError: there is no such file, or it is damaged.
    """
    module = copy.deepcopy(module)
    parameters = dict(module.named_parameters())
    patterns = options.generate or ("*",)
    chosen = [name for name in find_parameters(module, patterns, where, layers) if parameters[name].requires_grad]
    if not chosen:
        raise ConfigError(f"{where}: target.generate names parameters that the network itself keeps constant")
    able = adaptable(module) if options.adapter == "lora" else set()
    kernels = [name for name in chosen if name in able]
    if options.adapter == "lora" and not kernels:
        raise ConfigError(
            f"{where}: target.adapter=lora: only kernels of dense and convolution layers can have an adapter, and none "
            f"is among what target.generate names, such as '{chosen[0]}'"
        )
    state = options.read_weights() if kept is None else kept
    adapted = kernels
    if kept is not None:
        state, adapted = given_names(kept)
    elif state is not None:
        adapted = [name for name in kernels if _fits(state.get(name), parameters[name])]
    whole = {name.rpartition(".")[0] for name in kernels if name not in adapted}
    generated = [name for name in chosen if name.rpartition(".")[0] in whole] if kernels else chosen
    if state is not None:
        needed = [name for name in module.state_dict() if name not in generated] if kept is None else []
        _load(module, state, needed, where)
    for name, value in module.named_parameters():
        value.requires_grad_(name in generated)
    add_adapters(module, adapted, options.rank)
    return module


def trained_weights(options: PartOptions, generated: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Find the trained weights that generated parameters have to begin at, by name.

    Args:
        options: where trained weights are.
        generated: the generated parameters, by their names in the network, as it is made.

    Raises:
        HyperframeError: as `PartOptions.read_weights`.
    """
    own = {name: value.detach() for name, value in generated.items() if not is_of_adapter(name)}
    state = options.read_weights()
    if state is None:
        return own if options.weights else {}
    return {name: state[name].to(value) for name, value in own.items() if _fits(state.get(name), value)}


def _fits(found: Tensor | None, wanted: Tensor) -> bool:
    return found is not None and found.shape == wanted.shape


def _load(module: nn.Module, state: Mapping[str, Tensor], needed: Iterable[str], where: str) -> None:
    """Load what fits of a state, of which some tensors must be there."""
    own = module.state_dict()
    for name in needed:
        if name not in state or state[name].shape != own[name].shape:
            found = f"has the shape {list(state[name].shape)} there" if name in state else "is not there"
            raise ConfigError(
                f"{where}: target.weights holds no weights of this network: '{name}' of shape "
                f"{list(own[name].shape)} {found}. What is generated may differ; all else must be the network's"
            )
    strange = [name for name in state if name not in own and name not in dict(module.named_buffers())]
    if strange:
        raise ConfigError(
            f"{where}: target.weights holds weights of another network: " + unknown_name("tensor", strange[0], own)
        )
    fitting = {name: value for name, value in state.items() if _fits(value, own.get(name, value))}
    module.load_state_dict(fitting, strict=False)
    for name, buffer in module.named_buffers():
        if name not in own and name in state:
            buffer.copy_(state[name])
