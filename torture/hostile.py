"""Alterations of the configuration in a checkpoint: code, interpolations, places, names, absurd values."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from torture.sandbox import MODULE, RAN, VARIABLE, Sandbox
from torture.structure import Alteration, Content, Keys, replaced, shown, walk

RUN = "@RUN@"  # becomes a shell command that leaves a trace
TRACE = "@TRACE@"  # becomes the file of that trace
PYTHON = f"open('{TRACE}', 'w').close() or 4"

# nodes that leave a trace, or would call what no checkpoint has any business to call
NODES: dict[str, dict[str, Any]] = {
    "os.system": {"_target_": "os.system", "_args_": [RUN]},
    "os.system by name": {"_target_": "os.system", "command": RUN},
    "posix.system": {"_target_": "posix.system", "command": RUN},
    "builtins.eval": {"_target_": "builtins.eval", "_args_": [PYTHON]},
    "builtins.exec": {"_target_": "builtins.exec", "_args_": [PYTHON]},
    "builtins.open": {"_target_": "builtins.open", "file": TRACE, "mode": "w"},
    "subprocess.Popen": {"_target_": "subprocess.Popen", "args": RUN, "shell": True},
    "subprocess.check_output": {"_target_": "subprocess.check_output", "_args_": [RUN], "shell": True},
    "through an allowed package": {"_target_": "mergan.system.files.os.system", "command": RUN},
    "through a class": {"_target_": "mergan.networks.dcgan.nn.modules.module.warnings.sys.exit"},
    "through torch": {"_target_": "torch.os.system", "command": RUN},
    "torch.hub": {"_target_": "torch.hub.load", "repo_or_dir": "/nowhere", "model": "x", "source": "local"},
    "torch.load": {"_target_": "torch.load", "f": TRACE, "weights_only": False},
    "hydra.utils.instantiate": {
        "_target_": "hydra.utils.instantiate",
        "config": {"_target_": "os.system", "command": RUN},
    },
    "hydra.utils.get_method": {"_target_": "hydra.utils.get_method", "path": "os.system"},
    "hydra._internal": {"_target_": "hydra._internal.utils._locate", "path": f"{MODULE}.Generator"},
    "in the working directory": {"_target_": f"{MODULE}.Generator"},
    "a module": {"_target_": MODULE},
    "a package": {"_target_": "mergan.system.files"},
    "a function of the project": {"_target_": "mergan.system.files.write_text", "path": TRACE, "text": ""},
    "another class of the project": {"_target_": "mergan.callbacks.checkpoint.StreamCheckpoint"},
    "pathlib.Path.touch": {
        "_target_": "pathlib.Path.touch",
        "_args_": [{"_target_": "pathlib.Path", "_args_": [TRACE]}],
    },
    "logging handler": {"_target_": "logging.FileHandler", "filename": TRACE},
    "shutil.rmtree": {"_target_": "shutil.rmtree", "path": "../home"},
    "sympy": {"_target_": "sympy.sympify", "a": f"__import__('os').system('touch {TRACE}')"},
    "nonexistent": {"_target_": "mergan.no.such.Thing"},
    "no name": {"_target_": ""},
    "dots": {"_target_": "..os.system"},
    "a number": {"_target_": 3},
    "a list": {"_target_": ["os", "system"]},
    "interpolated": {"_target_": "${oc.decode:os.system}", "command": RUN},
    "as a partial": {"_target_": "os.system", "_partial_": True, "command": RUN},
    "not recursive": {"_target_": "builtins.dict", "_recursive_": False, "a": {"_target_": "os.system"}},
    "converted": {"_target_": "builtins.list", "_convert_": "all", "_args_": [[1, 2]]},
    "an escape": {"_target_": "os.\x1b[31msystem", "command": RUN},
    "long": {"_target_": "os." + "a" * 10**5},
    "two lines": {"_target_": "os\n.system", "command": RUN},
}
NAMED = ("os.system", "builtins.eval", "subprocess.Popen", "mergan.system.files.os.system", "torch.os.system",
         f"{MODULE}.Generator", "mergan.system.files.write_text", "posix.system")  # fmt: skip
INTERPOLATIONS = (
    f"${{oc.env:{VARIABLE}}}", f"leak_${{oc.env:{VARIABLE}}}", f"${{oc.decode:${{oc.env:{VARIABLE}}}}}",
    f"${{oc.env:{VARIABLE},default}}", "${hydra:runtime.cwd}", "${oc.create:{a:1}}", "${no.such.key}", "${",
    "???", "${oc.select:seed}", "${now:%Y}", "${seed}", "${..seed}", "\\${seed}", "${mergan:x}",
)  # fmt: skip
PLACES = (
    "cache_dir", "data.root", "data.source.root", "trainer.default_root_dir", "trainer.logger",
    "trainer.profiler", "trainer.callbacks", "logger.csv.folder", "logger.csv.save_dir",
    "logger.tensorboard.folder", "logger.tensorboard.save_dir", "logger.tensorboard.log_dir",
    "callbacks.checkpoint.dirpath", "callbacks.checkpoint.folder", "callbacks.samples.folder",
    "callbacks.samples.dirpath", "callbacks.progress.file", "evaluation.inception_weights", "init_from",
    "ckpt_path", "hydra.run.dir", "hydra.sweep.dir", "hydra.job_logging.handlers.file.filename", "out",
    "scenario.folder", "network.generator.folder", "strategy.folder", "learner.folder", "resume",
)  # fmt: skip
VALUES: tuple[tuple[str, Any], ...] = (
    ("batch_size", 10**9), ("batch_size", 0), ("batch_size", -1), ("embedding_dim", 10**9),
    ("embedding_dim", 0), ("network.generator.width", 10**6), ("network.generator.width", 10**30),
    ("network.generator.width", 0), ("network.discriminator.width", 10**6),
    ("network.generator.norm", "x" * 9**5),
    ("epochs", 10**20), ("epochs", [1] * 10**5), ("epochs", 0), ("epochs", []), ("steps_per_epoch", 10**20),
    ("trainer.devices", 1000), ("trainer.devices", "a\nb"), ("trainer.max_steps", 0),
    ("trainer.max_epochs", 0),
    ("trainer.accelerator", "tpu"), ("trainer.num_nodes", 10**6), ("trainer.precision", "64-true"),
    ("trainer.strategy", "ddp_spawn"), ("trainer.strategy", "ddp"), ("data.image_size", 10**6),
    ("data.channels", 10**9),
    ("data.num_classes", 10**9), ("data.num_classes", -1), ("data.source.num_classes", 10**9),
    ("data.source.train_per_class", 10**12), ("data.val_fraction", float("nan")), ("lr", float("inf")),
    ("lr", -1.0), ("lr", "1e-3x"), ("seed", 2**63), ("seed", -1), ("scenario.classes_per_task", 10**9),
    ("scenario.tasks", [[0], [0]]), ("scenario.tasks", [[10**9]]), ("scenario.class_order", "x\x1b[2J"),
    ("learner.ema", 7), ("learner.ema", float("nan")), ("learner.latent_dim", 10**9),
    ("learner.betas", [2, 2]),
    ("learner.log_every_n_steps", 0), ("evaluation.samples_per_class", 10**12), ("evaluation.k", 10**12),
    ("evaluation.metrics", {"\x1b]0;x\x07": {"_target_": "mergan.evaluation.metrics.kid.KID"}}),
    ("evaluation.classifier_steps", 10**12), ("callbacks.samples.columns", 10**9), ("callbacks", [1]),
    ("callbacks.progress.refresh_seconds", -1), ("caps", {"tasks": 10**9}), ("caps", 5), ("learner", None),
    ("objective", None), ("recovery.attempts", 10**30), ("objective.critic_steps", 10**12),
    ("strategy.samples", 10**12), ("strategy.capacity", 10**12), ("a new key", 1), ("x" * 10**5, 1),
)  # fmt: skip
NAMES: dict[str, Callable[[list[str]], Any]] = {
    "control characters": lambda names: [f"{name}\x1b[2J\x07\x00" for name in names],
    "another title": lambda names: [f"\x1b]0;owned\x07{name}" for name in names],
    "line breaks": lambda names: [f"{name}\r\nerror: all is well" for name in names],
    "C1 controls": lambda names: [f"{name}\x9b31m" for name in names],
    "right to left": lambda names: [f"\u202e{name}\u2066" for name in names],
    "half a surrogate": lambda names: [f"{name}\ud800" for name in names],
    "Markdown": lambda names: [f"|{name}|](http://x) <script>" for name in names],
    "TeX": lambda names: [f"$10_${name}$\\frac" for name in names],
    "a path": lambda names: [f"../../{name}" for name in names],
    "all the same": lambda names: ["a"] * len(names),
    "one too many": lambda names: [*names, "extra"],
    "one too few": lambda names: names[:-1],
    "none": lambda names: [],
    "numbers": lambda names: list(range(len(names))),
    "one text": lambda names: "abcd",
    "long": lambda names: ["x" * 10**6, *names[1:]],
    "a million": lambda names: [str(number) for number in range(10**6)],
    "interpolated": lambda names: [f"${{oc.env:{VARIABLE}}}{name}" for name in names],
    "empty": lambda names: ["", *names[1:]],
}


def alterations(content: Content) -> Iterator[Alteration]:
    """All of them for this content."""
    for root in _configurations(content):
        config = _at(content, root)
        yield from _targets(root, config)
        yield from _interpolations(root, config)
        for place in PLACES:
            yield Alteration("place", place, _place(root, place, ""))
            yield Alteration("place", f"{place}, below the canary", _place(root, place, "deeper/below"))
        for key, value in VALUES:
            text = repr(value) if len(repr(value)) < 30 else f"{repr(value)[:25]}..."
            yield Alteration("value", f"{key[:30]} = {text}", _set(root, key, value))
        for count in (2, 3, 6):  # arguments of any kind in the nodes that are built
            yield Alteration("value", f"{count} unknown arguments everywhere", _more(root, count))
    for keys, value in walk(content):
        if keys[-1] in ("class_names", "seen", "known") and isinstance(value, (list, tuple)):
            for name, change in NAMES.items():
                yield Alteration("names", f"{shown(keys)}: {name}", _names(keys, change))


def _configurations(content: Content) -> list[Keys]:
    """Where configurations of runs stand in the content."""
    return [
        keys
        for keys, value in walk(content)
        if isinstance(value, dict) and {"network", "cache_dir"} <= value.keys()
    ]


def _at(content: Any, keys: Keys) -> Any:
    for key in keys:
        content = content[key]
    return content


def _targets(root: Keys, config: dict[str, Any]) -> Iterator[Alteration]:
    nodes = itertools.cycle(NODES.items())
    for keys, value in walk(config):
        if keys[-1] == "_target_":
            several = NODES if keys[:2] == ("network", "generator") else dict(itertools.islice(nodes, 4))
            for name, node in several.items():
                target = node["_target_"]
                word = target if target in NAMED else ""
                change = _put((*root, *keys), target)
                yield Alteration("target", f"{shown(keys)} = {name}", change, refused=True, word=word)
                whole = _put((*root, *keys[:-1]), node)
                yield Alteration("target", f"{shown(keys[:-1])} = {name}, whole", whole, refused=True)
        else:
            for name, node in itertools.islice(nodes, 2):
                change = _put((*root, *keys), node)
                yield Alteration("node", f"{shown(keys)} = {name}", change, refused=True)
            name, node = next(nodes)
            wrapped = {"a": [{"b": [value, {"deep": node}]}]}
            change = _put((*root, *keys), wrapped)
            yield Alteration("node", f"{shown(keys)}: {name} in lists", change, refused=True)
    for keys, value in walk(config):
        if isinstance(value, dict) and "_target_" in value:
            for name, node in itertools.islice(nodes, 2):
                change = _put((*root, *keys, "extra"), node)
                yield Alteration("node", f"{shown(keys)}.extra = {name}", change, refused=True)
            for key, extra in (("_args_", [1]), ("_partial_", True), ("_recursive_", False), ("_mode_", 1)):
                if key not in value:
                    change = _put((*root, *keys, key), extra)
                    yield Alteration("node", f"{shown(keys)}.{key}", change)


def _interpolations(root: Keys, config: dict[str, Any]) -> Iterator[Alteration]:
    texts = itertools.cycle(INTERPOLATIONS)
    for keys, value in walk(config):
        if not isinstance(value, dict):
            for text in itertools.islice(texts, 3 if isinstance(value, str) else 1):
                yield Alteration("interpolation", f"{shown(keys)} = {text}", _put((*root, *keys), text))
    for keys, value in walk(config):
        if isinstance(value, dict):
            text = next(texts)
            yield Alteration("interpolation", f"a key {text} in {shown(keys)}", _put((*root, *keys, text), 1))


def _put(keys: Keys, value: Any) -> Callable[[Content, Sandbox], Content]:
    return lambda content, sandbox: replaced(content, keys, filled(value, sandbox))


def filled(value: Any, sandbox: Sandbox) -> Any:
    """A copy of a node with the places of this sandbox."""
    if isinstance(value, dict):
        return {key: filled(child, sandbox) for key, child in value.items()}
    if isinstance(value, list):
        return [filled(child, sandbox) for child in value]
    if isinstance(value, str):
        trace = str(sandbox.canary / RAN)
        return value.replace(RUN, f"touch {trace}").replace(TRACE, trace)
    return value


def _set(root: Keys, key: str, value: Any) -> Callable[[Content, Sandbox], Content]:
    """Set a dotted key, with the nodes that lead to it."""

    def make(content: Content, _: Sandbox) -> Content:
        node, names = _at(content, root), key.split(".")
        for name in names[:-1]:
            if not isinstance(node.get(name), dict):
                node[name] = {}
            node = node[name]
        node[names[-1]] = value
        return content

    return make


def _place(root: Keys, key: str, below: str) -> Callable[[Content, Sandbox], Content]:
    return lambda content, sandbox: _set(root, key, str(sandbox.canary / below))(content, sandbox)


def _more(root: Keys, count: int) -> Callable[[Content, Sandbox], Content]:
    def make(content: Content, _: Sandbox) -> Content:
        nodes = [value for _, value in walk(_at(content, root)) if isinstance(value, dict)]
        for node in nodes:
            node.update({f"unknown_{number}": "/canary" for number in range(count)})
        return content

    return make


def _names(keys: Keys, change: Callable[[list[str]], Any]) -> Callable[[Content, Sandbox], Content]:
    return lambda content, _: replaced(content, keys, change(list(_at(content, keys))))
