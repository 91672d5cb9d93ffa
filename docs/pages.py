"""The pages of the site that nobody writes by hand: the reference of docstrings, the tables of what there is, the chapters of the
course and the programs of the gallery. `docs/conf.py` has them written before each build; they are in no commit.

`python docs/pages.py` lists the pictures that pages ask for and docs/pictures/ lacks, and fails where there are any; with `--readme`
it sets those of the gallery into README.md first.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import drawings
import jupytext

import tracegrad
from tracegrad.core.backends import XLA_RULES, xla
from tracegrad.core.op import OPS

# ---------------------------------------------------------------------------------------------------------- the reference

# The order of the reference, and of modules what cannot be found by going through `__all__`.
FIRST = [
    "tracegrad",
    "tracegrad.numpy",
    "tracegrad.numpy.linalg",
    "tracegrad.lax",
    "tracegrad.random",
    "tracegrad.tree",
]
ELSEWHERE = {"tracegrad.ops", "tracegrad.show"}  # there is a page of ops; `show` prints Graphs


def modules() -> dict[str, ModuleType]:
    """The public modules, by the name under which users reach them."""
    found: dict[str, ModuleType] = {}

    def visit(name: str, module: ModuleType) -> None:
        found[name] = module
        for part in names_of(module):
            inner = getattr(module, part)
            if (
                isinstance(inner, ModuleType)
                and inner.__name__.startswith("tracegrad")
                and f"{name}.{part}" not in ELSEWHERE
            ):
                visit(f"{name}.{part}", inner)

    visit("tracegrad", tracegrad)
    found["tracegrad.testing.strategies"] = importlib.import_module("tracegrad.testing.strategies")
    found["tracegrad.testing.precise"] = importlib.import_module("tracegrad.testing.precise")
    first = [name for name in FIRST if name in found]
    return {name: found[name] for name in [*first, *sorted(found.keys() - {*first})]}


def names_of(module: ModuleType) -> list[str]:
    """`__all__`, or the functions and classes that the module defines."""
    if hasattr(module, "__all__"):
        return sorted(module.__all__, key=str.lower)
    things = {name: x for name, x in vars(module).items() if inspect.isroutine(x) or isinstance(x, type)}
    own = (name for name, x in things.items() if getattr(x, "__module__", None) == module.__name__)
    return sorted((name for name in own if not name.startswith("_")), key=str.lower)


def entries() -> dict[str, Any]:
    """Each public name with what it stands for, modules left out."""
    return {
        f"{place}.{name}": found
        for place, module in modules().items()
        for name in names_of(module)
        if not isinstance(found := getattr(module, name), ModuleType)
    }


def documentation(found: Any) -> str:
    """The docstring, if it is the object's own and not that of its class; of NumPy's functions the first paragraph."""
    text = inspect.getdoc(found) or ""
    if not isinstance(found, type) and not callable(found) and text == inspect.getdoc(type(found)):
        return ""
    if type(found).__module__ in ("typing", "types") and not inspect.isroutine(found):  # an alias
        return ""
    if is_numpys(found):
        paragraphs = [p for p in text.split("\n\n") if not re.match(r"[\w.]+\(", p)]
        text = paragraphs[0].replace("``", "`") if paragraphs else ""
    return text


def is_numpys(found: Any) -> bool:
    """Whether it is a function or a type of NumPy's own, which NumPy documents."""
    of = found if hasattr(found, "__module__") else type(found)  # `mgrid` is of a class of NumPy's
    return type(found).__name__ in ("_Ufunc", "ufunc") or str(of.__module__).split(".")[0] == "numpy"


def meanings(text: str, module: str | None) -> Iterator[str]:
    """The full names that code in a text may stand for; `module` is that of the page, if it is of one."""
    if not re.fullmatch(r"[A-Za-z_][\w.]*", text):
        return
    for short, long in (("tg.", ""), ("tnp.", "numpy."), ("nn.", "nn."), ("lax.", "lax."), ("optim.", "optim.")):
        if text.startswith(short):
            yield f"tracegrad.{long}{text.removeprefix(short)}"
    if text.startswith("tracegrad."):
        yield text
    if module is not None:
        yield f"{module}.{text}"


def toctree(entries: Iterable[str]) -> list[str]:
    """What puts pages beneath this one, in the bar at the side alone."""
    return ["```{toctree}", ":hidden:", ":maxdepth: 1", "", *entries, "```", ""]


def reference() -> Iterator[tuple[str, str]]:
    found = modules()
    lines = ["# API reference", "", "Every public name, from its docstring. The examples are run by the tests.", ""]
    lines += [":::{container} names", "| module | what is in it |", "|---|---|"]
    for name, module in found.items():
        lines.append(f"| [`{shown(name)}`]({name}.md) | {cell(first_sentence(inspect.getdoc(module) or ''))} |")
    lines += [
        ":::",
        "",
        *toctree(f"{shown(n)} <{n}>" for n in found),
    ]
    yield "reference/index", "\n".join(lines)
    for name, module in found.items():
        yield f"reference/{name}", page_of(name, module)


def shown(name: str) -> str:
    """`tg.lax` of "tracegrad.lax"."""
    return re.sub(r"^tracegrad\b", "tg", name)


def page_of(name: str, module: ModuleType) -> str:
    lines = [
        f"# `{shown(name)}`",
        "",
        f"```{{py:module}} {name}",
        "```",
        "",
        *markdown(inspect.getdoc(module) or ""),
        "",
    ]
    things = {part: getattr(module, part) for part in names_of(module)}
    things = {part: thing for part, thing in things.items() if not isinstance(thing, ModuleType)}
    if len(things) > 6:
        lines += [":::{container} names", "| name | what it is |", "|---|---|"]
        for part, thing in things.items():
            lines.append(f"| `{part}` | {cell(first_sentence(documentation(thing)))} |")
        lines += [":::", ""]
    for part, thing in things.items():
        lines += entry(part, thing)
    return "\n".join(lines)


def entry(name: str, found: Any) -> list[str]:
    """A directive of Sphinx's Python domain, with the docstring in it."""
    body = markdown(documentation(found))
    if is_numpys(found) and callable(found):
        body += ["", f"NumPy's own `np.{found.__name__}`, which takes what is traced, and here jax arrays too."]
    if isinstance(found, type):
        for part, member in vars(found).items():
            routine = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            text = inspect.getdoc(routine.fget if isinstance(routine, property) else routine) or ""
            inherited = any(
                text == inspect.getdoc(vars(base)[part]) for base in found.__mro__[1:] if part in vars(base)
            )
            if part.startswith("_") or not text or inherited or is_numpys(found):
                continue
            if isinstance(routine, property):
                body += ["", *directive("py:property", part, markdown(text), "`````")]
            elif inspect.isfunction(routine):
                body += [
                    "",
                    *directive("py:method", f"{part}{signature(routine, method=True)}", markdown(text), "`````"),
                ]
        return directive("py:class", f"{name}{'' if is_numpys(found) else signature(found)}", body)
    if (callable(found) and documentation(found)) or inspect.isroutine(found):
        return directive("py:function", f"{name}{'(...)' if is_numpys(found) else signature(found)}", body)
    return directive("py:data", name, body or [f"`{cell(short(found))}`"])


def directive(kind: str, what: str, body: list[str], fence: str = "``````") -> list[str]:
    return [f"{fence}{{{kind}}} {what}", "", *body, fence, ""]


def short(found: Any) -> str:
    text = re.sub(r" at 0x[0-9a-f]+", "", repr(found)).replace("typing.", "").replace("collections.abc.", "")
    return re.sub(r"\btracegrad\.[\w.]*\.(\w+)", r"\1", text)


def signature(found: Any, method: bool = False) -> str:
    """As it is written, but for defaults that are objects, which are called by their names."""
    try:
        given = inspect.signature(found)
    except (TypeError, ValueError):
        return "(...)"
    parameters = list(given.parameters.values())[1 if method else 0 :]
    written = defaults(found)
    plain = []
    for p in parameters:
        default, annotation = p.default, p.annotation
        if default is not p.empty and p.name in written:
            default = Name(written[p.name])
        if not isinstance(annotation, str) and annotation is not p.empty:
            annotation = getattr(annotation, "__forward_arg__", None) or short(annotation)
        if isinstance(annotation, str):
            annotation = p.empty if "<" in annotation else Name(annotation.strip("'"))
        plain.append(p.replace(default=default, annotation=annotation))
    returns = given.return_annotation
    returns = Name(returns.strip("'")) if isinstance(returns, str) and not isinstance(found, type) else given.empty
    return str(given.replace(parameters=plain, return_annotation=returns))


def defaults(found: Any) -> dict[str, str]:
    """The defaults of a function as they are written: `lecun_normal()`, where `inspect` knows an object."""
    try:
        source = textwrap.dedent(
            inspect.getsource(inspect.unwrap(found.__init__ if isinstance(found, type) else found))
        )
        (function,) = ast.parse(source).body
        arguments = function.args  # type: ignore[attr-defined]
    except (OSError, TypeError, SyntaxError, AttributeError, ValueError):
        return {}
    positional = [*arguments.posonlyargs, *arguments.args]
    last = positional[len(positional) - len(arguments.defaults) :]
    pairs = [
        *zip(last, arguments.defaults, strict=True),
        *zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True),
    ]
    return {argument.arg: ast.unparse(default) for argument, default in pairs if default is not None}


class Name:
    """What `inspect` prints without quotes."""

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


SECTION = re.compile(r"(Args|Returns|Raises|Yields|Attributes|Fields|Options):$")


def markdown(text: str) -> list[str]:
    """A docstring as Markdown: sections as lists, examples and what is indented as code."""
    out: list[str] = []
    lines = text.splitlines()
    i = 0
    while i < len(lines):
        line = lines[i]
        if line.startswith(">>> "):
            end = next((k for k in range(i, len(lines)) if not lines[k].strip()), len(lines))
            out += ["", "```pycon", *lines[i:end], "```", ""]
            i = end
        elif SECTION.match(line):
            end = next(
                (k for k in range(i + 1, len(lines)) if lines[k].strip() and not lines[k].startswith(" ")), len(lines)
            )
            out += ["", f"**{line[:-1]}**", "", *items(textwrap.dedent("\n".join(lines[i + 1 : end])), line)]
            i = end
        elif line.startswith("    ") and (i == 0 or not lines[i - 1].strip()):
            end = next(
                (k for k in range(i, len(lines)) if lines[k].strip() and not lines[k].startswith("    ")), len(lines)
            )
            block = textwrap.dedent("\n".join(lines[i:end])).rstrip()
            out += ["", f"```{language(block)}", *block.splitlines(), "```", ""]
            i = end
        else:
            out.append(escaped(line))
            i += 1
    return out


def items(text: str, heading: str) -> list[str]:
    """The parts of a section: a list of names with what is said of each, or paragraphs."""
    named = re.match(r"(\*{0,2}\w[\w, *.]*): ", text) and not heading.startswith(("Returns", "Yields"))
    if not named:
        return ["", *markdown(text), ""]
    out: list[str] = []
    for line in text.splitlines():
        if match := re.match(r"(\*{0,2}\w[\w, *.]*): (.*)", line):
            out.append(f"- `{match[1]}`: {escaped(match[2])}")
        else:
            out.append(f"  {escaped(line.strip())}" if line.strip() else "")
    return [*out, ""]


def language(block: str) -> str:
    try:
        ast.parse(block)
    except SyntaxError:
        return "text"
    return "python"


def escaped(line: str) -> str:
    """A line of prose without what Markdown would read into it, but for code, lists and addresses."""
    parts = re.split(r"(`[^`]*`|https?://\S+)", line)
    parts = [p if k % 2 else re.sub(r"([*_<>\[\]$])", r"\\\1", p) for k, p in enumerate(parts)]
    return re.sub(r"^(\s*)([+#|=])", r"\1\\\2", "".join(parts))


def cell(text: str) -> str:
    return escaped(re.sub(r"\s+", " ", text)).replace("|", "\\|").strip()


def first_sentence(text: str) -> str:
    paragraph = text.split("\n\n")[0]
    if paragraph.startswith(">>>"):
        return ""
    match = re.match(r"(.+?(?:\.|:$))(?:\s|$)", paragraph, re.DOTALL)
    sentence = match[1] if match else paragraph
    sentence = re.sub(r"\s+", " ", sentence).strip()
    return sentence[:-1] + "." if sentence.endswith(":") else sentence


# ---------------------------------------------------------------------------------------------------------- what there is


def ops() -> str:
    xla()  # which fills the table of its rules
    out = [
        "# Ops",
        "",
        "What a Graph can consist of, from the library's own table when this site was built: "
        f"{len(OPS)} ops, of which {sum(name in XLA_RULES for name in OPS)} have a rule for XLA.",
        "Where one of the two derivatives stands, the other is its transpose. `–` in both: no derivative.",
        "An op that is linear is its own forward rule. Ops that hold Graphs (`call`, `scan`, `switch`) stand here too.",
        "What NumPy's functions make of them [stands elsewhere](numpy_coverage.md).",
        "",
        "| op | forward rule | reverse rule | linear | holds Graphs | XLA |",
        "|---|---|---|---|---|---|",
    ]
    tick = lambda x: "yes" if x else "–"
    for name, op in sorted(OPS.items()):
        linear = op.linear is not None
        held = op.held is not None
        out.append(
            f"| `{name}` | {tick(op.jvp)} | {tick(op.vjp)} | {tick(linear)} | {tick(held)} | {tick(name in XLA_RULES)} |"
        )
    return "\n".join(out)


# ------------------------------------------------------------------------------------------- the course and the gallery


def examples(root: Path) -> Path:
    return root.parent / "examples"


def chapters(source: Path) -> list[Path]:
    return sorted(p for p in (examples(source) / "course").glob("[0-9][0-9]_*.py"))


def programs(source: Path) -> list[Path]:
    """Of the gallery, and the larger ones beside it."""
    gallery = sorted(p for p in (examples(source) / "gallery").glob("*.py") if p.stem not in ("common", "__init__"))
    return [*gallery, *sorted(examples(source).glob("*.py"))]


SHOWN = re.compile(r"""\bshow\(\s*figure\s*,\s*["']([\w-]+)["']""")
DRAWN = re.compile(r"\(\.\./pictures/([\w.-]+)\)")


def course(source: Path) -> Iterator[tuple[str, str]]:
    titles: dict[str, str] = {}
    goals: dict[str, str] = {}
    for path in chapters(source):
        title, text = chapter(source, path)
        titles[path.stem] = title
        if goal := re.search(r"\*\*After this chapter you can\*\* (.*?\.)(?=\s)", text, re.DOTALL):
            goals[path.stem] = " " + re.sub(r"\s+", " ", goal[1])
        yield f"course/{path.stem}", text
    lines = [
        "# Deep learning from first principles",
        "",
        "A course in chapters. Each is one file, which runs as a script (`python examples/course/02_perceptrons.py`) and opens as a notebook",
        "(`jupytext --to notebook`); what it claims, it asserts. It asks for undergraduate calculus and linear algebra, and for no",
        "knowledge of neural networks. After each chapter you can do what stands beside it.",
        "",
        *(f"- **[{title}]({stem}.md)**{goals.get(stem, '')}" for stem, title in titles.items()),
        "",
        *toctree(titles),
    ]
    yield "course/index", "\n".join(lines)


def chapter(source: Path, path: Path) -> tuple[str, str]:
    """Title and Markdown of a chapter: cells of text as they are, cells of code, and after a cell the pictures that it shows."""
    title, lines = path.stem, []
    for part in jupytext.read(path, fmt="py:percent").cells:
        if part.cell_type == "markdown":
            text = re.sub(r"\]\((\d\d_\w+)\.py\)", r"](\1.md)", part.source)
            if not lines and (match := re.match(r"#\s+(.*)", text)):
                title = match[1]
            elif not lines and part.source:
                lines += [f"# {title}", ""]
            lines += [text, ""]
        elif part.source.strip():
            lines += ["```python", part.source, "```", ""]
            for name in SHOWN.findall(part.source):
                lines += picture(source, f"course_{name}.png", f"The figure {name} that this cell draws")
    lines += ["---", "", f"The source of this page is `examples/course/{path.name}`.", ""]
    return title, "\n".join(lines)


def picture(source: Path, name: str, says: str) -> list[str]:
    return [f"![{says}](../pictures/{name})", ""] if (source / "pictures" / name).exists() else []


def gallery(source: Path) -> Iterator[tuple[str, str]]:
    cards, stems = [], []
    for path in programs(source):
        text = path.read_text()
        document = inspect.cleandoc(ast.get_docstring(ast.parse(text)) or path.stem)
        title = title_of(path.stem)
        where = path.relative_to(examples(source).parent).as_posix()
        found = picture(source, f"gallery_{path.stem}.png", f"What {path.name} draws")
        program = text.split('"""', 2)[2].strip()
        command = [] if where in document else [f"```sh\npython {where}\n```", ""]
        page = [
            f"# {title}",
            "",
            *markdown(document),
            "",
            *found,
            *command,
            "```python",
            program,
            "```",
            "",
        ]
        yield f"gallery/{path.stem}", "\n".join(page)
        stems.append(path.stem)
        summary = escaped(re.sub(r"\s+", " ", re.split(r"(?<=[.?])\s|\n\n", document)[0]))
        image = f"../pictures/gallery_{path.stem}.png"
        if found:
            cards += [
                f":::{{figure}} {image}",
                f":target: {path.stem}.html",
                f":alt: {title}",
                "",
                f"**[{title}]({path.stem}.md)** {summary}",
                ":::",
                "",
            ]
        else:
            cards += [":::{container} card", f"**[{title}]({path.stem}.md)** {summary}", ":::", ""]
    cards += [
        ":::{container} card",
        "**[Drawn graphs](drawn.md)** A perceptron, a network of digits and a block of a transformer,",
    ]
    cards += ["with values and gradients, to open, search and click through.", ":::", ""]
    stems.append("drawn")
    lines = [
        "# Gallery",
        "",
        "Programs of a page or two that measure what they reach, and assert it. Those of `examples/gallery/` run within two minutes on a",
        "laptop, draw one picture, and take `--steps` and `--backend`, which is numpy, xla or auto.",
        "",
        "::::{container} gallery",
        "",
        *cards,
        "::::",
        "",
        *toctree(stems),
    ]
    yield "gallery/index", "\n".join(lines)


def drawn(names: list[str]) -> str:
    """The page of the graphs that `docs/drawings.py` has saved, each in a frame."""
    lines = [
        "# Drawn graphs",
        "",
        "What `tg.draw(f, *args)` makes of a function, by `docs/drawings.py`. Each is one file, which asks for nothing from",
    ]
    lines += [
        'outside: `.save("loss.html")`. Blue is what a variable is, brown the derivative of the result with respect to it. Groups open and'
    ]
    lines += [
        "close by a click; a click on a box shows the line that asked for it. [Drawing Graphs](../drawing.md) says the rest.",
        "",
    ]
    for name in names:
        frame = f'<iframe class="drawn" loading="lazy" title="{title_of(name)}" src="../drawn/{name}.html"></iframe>'
        lines += [f"## {title_of(name)}", "", "```{raw} html"]
        lines += [f'<p><a href="../drawn/{name}.html">On a page of its own</a></p>', frame, "```", ""]
    return "\n".join(lines)


# Words of files' names that titles write otherwise.
WORDS = {
    "gpt": "GPT",
    "lstm": "LSTM",
    "vae": "VAE",
    "hmc": "HMC",
    "ode": "ODE",
    "pinn": "PINN",
    "co2": "CO₂",
    "mnist": "MNIST",
}
WORDS |= {"numpy": "NumPy", "lenet": "LeNet", "gaussian": "Gaussian"}


def title_of(stem: str) -> str:
    """ "CO₂ gaussian process" of "co2_gaussian_process"."""
    text = " ".join(WORDS.get(word, word) for word in stem.split("_"))
    return text if text[:2].isupper() else text[0].upper() + text[1:]


def missing_pictures(source: Path) -> list[str]:
    """What docs/pictures/ lacks: the figures of chapters, and one of each program of the gallery."""
    wanted = {f"course_{name}.png" for path in chapters(source) for name in SHOWN.findall(path.read_text())}
    wanted |= {name for path in chapters(source) for name in DRAWN.findall(path.read_text())}
    wanted |= {f"gallery_{path.stem}.png" for path in programs(source) if path.parent.name == "gallery"}
    for page in source.glob("*.md"):
        wanted |= set(re.findall(r"\(pictures/([\w.-]+)\)", page.read_text()))
    return sorted(name for name in wanted if not (source / "pictures" / name).exists())


# ---------------------------------------------------------------------------------------------------------------- writing


def write(source: Path) -> None:
    """Writes all of these pages beside the others, and leaves alone what has not changed."""
    wanted = {**dict(reference()), "ops": ops(), **dict(course(source)), **dict(gallery(source))}
    wanted["gallery/drawn"] = drawn(drawings.write(source / "extra" / "drawn"))
    for name, text in wanted.items():
        path = source / f"{name}.md"
        path.parent.mkdir(exist_ok=True)
        if not path.exists() or path.read_text() != text:
            path.write_text(text)
    for folder in ("reference", "course", "gallery"):
        for path in (source / folder).glob("*.md"):
            if f"{folder}/{path.stem}" not in wanted:
                path.unlink()


FRONT = [
    "photo_deblur",
    "topology",
    "diffusion",
    "thrown_ball",
    "siren",
    "digits_vae",
    "heat_pinn",
    "names_lstm",
    "co2_gaussian_process",
]


def readme(source: Path) -> str:
    """README.md with nine pictures of the gallery in its table, three to a row, each a link to its program."""
    text = (source.parent / "README.md").read_text()
    found = [path for name in FRONT for path in programs(source) if path.stem == name]
    cells = [
        f'<a href="{path.relative_to(source.parent).as_posix()}"><img src="docs/pictures/gallery_{path.stem}.png" width="270" '
        f'alt="{path.stem.replace("_", " ")}"></a>'
        for path in found
    ]
    rows = ["| " + " | ".join(cells[k : k + 3]) + " |" for k in range(0, len(cells), 3)]
    table = ["", "| | | |", "|---|---|---|", *rows, ""] if rows else []
    start, end = "<!-- gallery -->\n", "<!-- end of gallery -->\n"
    return re.sub(f"{start}.*?{end}", lambda _: start + "\n".join([*table, end]), text, flags=re.DOTALL)


if __name__ == "__main__":
    here = Path(__file__).parent
    if "--readme" in sys.argv:
        (here.parent / "README.md").write_text(readme(here))
    lacking = missing_pictures(here)
    print("\n".join(lacking) or "no picture is missing")
    sys.exit(bool(lacking))
