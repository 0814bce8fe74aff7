"""A method's own checkpoint: the tensors of its network under their own names.

For a method that was trained elsewhere, with the same network: a state dict in a .pth file, say.
"""

from fvsr_bench import registry
from fvsr_bench.convert.layout import Layout, Rule
from fvsr_bench.convert.readers import PREFIXES
from fvsr_bench.spec import DEGRADATIONS


def own_layout(method: str) -> Layout:
    """Return the layout of a method's own network, built with its default options."""
    names = list(registry.build(method).state_dict())
    theirs = names
    for prefix in PREFIXES:  # a network whose parts are all inside `self.model` is read without it
        if all(name.startswith(prefix) for name in theirs):
            theirs = [name.removeprefix(prefix) for name in theirs]
    rules = [Rule(theirs=their, ours=ours) for their, ours in zip(theirs, names, strict=True)]
    return Layout(
        name=f"{registry.method_name(method)}'s own",
        code=f"the network that {method} builds",
        licence="not stated",
        data="not stated",
        degradations=lambda _: tuple(DEGRADATIONS),
        ignored=(),
        sizes=lambda _: {},
        rules=lambda _: rules,
        options=lambda _, __: {},
        semantics=lambda _, __: {},
    )
