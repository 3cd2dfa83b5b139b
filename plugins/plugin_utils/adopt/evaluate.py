"""What a settings module sets and which environment variables it reads, worked out from its text without running it.

Only what decides a deployment is understood: constants, paths below the project, what is read from the environment, and what a few
plain operations make of them. Everything else is UNKNOWN. Of two branches the one that production takes is followed, else both.
"""

from __future__ import annotations

import ast
import builtins
import itertools
import posixpath
import re
import string
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ansible_collections.stockpot.stack.plugins.plugin_utils.environment import NAME

from .tree import Tree, dotted

DEEPEST = 8  # functions of the project that call each other
LONGEST = 200  # rounds of a loop that is followed


class _Unknown:
    def __repr__(self) -> str:
        return "UNKNOWN"


UNKNOWN = _Unknown()


@dataclass(frozen=True, eq=False)
class Read:
    """An environment variable as one place reads it.

    Attributes:
        name: the variable's.
        where: `file:line`.
        required: whether the project does not start without it.
        default: what stands for it, UNKNOWN if that cannot be told.
        kind: what is made of it: `bool`, `truthy` (any text is true), `int`, `list`, `json`, `db`, `cache`, `email`, `not` (another
            text than `separator`); empty for text.
        separator: what stands between the entries of a list.
    """

    name: str
    where: str
    required: bool = False
    default: Any = None
    kind: str = ""
    separator: str = ","


@dataclass(frozen=True, eq=False)
class Joined:
    """A text of parts, some of them read from the environment."""

    parts: tuple[Any, ...]


@dataclass(frozen=True)
class Place:
    """A path relative to the source's top."""

    path: str


@dataclass(frozen=True)
class External:
    """Something of another package, by its dotted name."""

    name: str


@dataclass(frozen=True, eq=False)
class Made:
    """What calling something of another package gives."""

    name: str
    arguments: tuple[Any, ...]
    keywords: dict[str, Any]
    where: str = ""


class Table(dict[Any, Any]):
    """A dict, with the place of each entry."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.where: dict[Any, str] = dict(getattr(given[0], "where", {})) if given else {}


@dataclass
class Scope:
    """The names of a module or function, and where each is set."""

    file: str
    names: dict[str, Any] = field(default_factory=dict)
    where: dict[str, str] = field(default_factory=dict)
    outer: Scope | None = None
    returned: list[Any] = field(default_factory=list)

    def look(self, name: str) -> Any:
        """What a name stands for."""
        scope: Scope | None = self
        while scope:
            if name in scope.names:
                return scope.names[name]
            scope = scope.outer
        return UNKNOWN


@dataclass(frozen=True, eq=False)
class _Function:
    node: ast.FunctionDef
    scope: Scope


@dataclass(eq=False)
class _Env:
    """django-environ's or environs' reader."""

    library: str
    schema: dict[str, tuple[str, Any]]
    prefix: str = ""


class _Fields(dict[str, Any]):
    """A settings class of pydantic: its fields."""


# What a reader makes of a variable, by its method.
KINDS = {
    **dict.fromkeys(("bool", "boolean", "strtobool"), "bool"),
    **dict.fromkeys(("int", "float", "decimal", "timedelta"), "int"),
    **dict.fromkeys(("list", "tuple", "Csv"), "list"),
    **dict.fromkeys(("json", "dict", "loads"), "json"),
    **dict.fromkeys(("db", "db_url", "dj_db_url"), "db"),
    **dict.fromkeys(("cache", "cache_url", "dj_cache_url"), "cache"),
    **dict.fromkeys(("email", "email_url", "dj_email_url"), "email"),
}
# What they read when they are given no name.
DEFAULT_NAMES = {"db": "DATABASE_URL", "cache": "CACHE_URL", "email": "EMAIL_URL"}
NO_READS = {"read_env", "read_envfile", "seal", "prefixed", "dump", "parser_for", "parser", "add_parser", "unique"}
ENVIRONMENT = ("os.environ",)
DATABASES = re.compile(r"postgres|postgis|psycopg|^pg|mysql|maria|sqlite|oracle", re.I)
PASSED_ON = {
    "strip",
    "lstrip",
    "rstrip",
    "lower",
    "upper",
    "replace",
    "removeprefix",
    "removesuffix",
    "encode",
    "decode",
}


class Evaluator:
    """Works out modules of one project; `reads` gathers what they read from the environment."""

    def __init__(self, tree: Tree, *, follows_imports: bool = True) -> None:
        self.tree = tree
        self._follows = follows_imports
        self.reads: list[Read] = []
        # What a variable has to say for PostgreSQL to be used.
        self.choices: dict[str, str] = {}
        self.files: list[str] = []
        self._scopes: dict[str, Scope] = {}
        self._perhaps = 0
        self._calls: list[str] = []

    def _imported(self, name: str) -> Scope | None:
        return self.module(name) if self._follows else None

    def module(self, name: str) -> Scope | None:
        """The names of a module of the project; none for another one."""
        file = self.tree.file_of(name)
        if not file:
            return None
        if file not in self._scopes:
            scope = self._scopes[file] = Scope(file)
            scope.names["__file__"] = Place(file)
            self.files.append(file)
            calls, self._calls = self._calls, []
            if parsed := self.tree.parsed(file):
                self._body(parsed.body, scope)
            self._calls = calls
        return self._scopes[file]

    # Statements

    def _body(self, nodes: Iterable[ast.stmt], scope: Scope) -> None:
        for node in nodes:
            self._statement(node, scope)

    def _statement(self, node: ast.stmt, scope: Scope) -> None:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    top = alias.name if alias.asname else alias.name.partition(".")[0]
                    scope.names[alias.asname or top] = self._imported(top) or External(top)
            case ast.ImportFrom():
                self._import_from(node, scope)
            case ast.Assign(targets=targets, value=value):
                result = self.value(value, scope)
                for target in targets:
                    self._assign(target, result, scope, node.lineno)
            case ast.AnnAssign(target=target, value=ast.expr() as value):
                self._assign(target, self.value(value, scope), scope, node.lineno)
            case ast.AugAssign(target=ast.Name(id=name) as target, op=ast.Add(), value=value):
                self._assign(target, _added(scope.look(name), self.value(value, scope)), scope, node.lineno)
            case ast.If(test=test, body=body, orelse=orelse):
                self._branches(test, body, orelse, scope)
            case ast.Try(body=body, handlers=handlers, orelse=orelse, finalbody=final):
                self._perhaps += bool(handlers)
                self._body([*body, *orelse], scope)
                self._second([one for handler in handlers for one in handler.body], set(scope.names), scope)
                self._perhaps -= bool(handlers)
                self._body(final, scope)
            case ast.With(items=items, body=body):
                self._with(items, body, scope)
            case ast.For(iter=over, body=body):
                self.value(over, scope)
                self._body(body, scope)
            case ast.FunctionDef(name=name):
                scope.names[name] = _Function(node, scope)
            case ast.ClassDef():
                scope.names[node.name] = self._class(node, scope)
            case ast.Return(value=ast.expr() as value):
                scope.returned.append(self.value(value, scope))
            case ast.Expr(value=value):
                self._expression(value, scope)

    def _import_from(self, node: ast.ImportFrom, scope: Scope) -> None:
        name = node.module or ""
        if node.level:
            parts = self.tree.module_of(scope.file).split(".")
            package = parts if scope.file.endswith("__init__.py") else parts[:-1]
            name = ".".join([*package[: len(package) - node.level + 1], *filter(None, [name])])
        found = self._imported(name)
        for alias in node.names:
            if alias.name == "*":
                if found:
                    scope.names.update({key: one for key, one in found.names.items() if not key.startswith("_")})
                    scope.where.update(found.where)
            elif found and alias.name in found.names:
                scope.names[alias.asname or alias.name] = found.names[alias.name]
                if alias.name in found.where:
                    scope.where[alias.asname or alias.name] = found.where[alias.name]
            else:
                inner = self._imported(f"{name}.{alias.name}" if name else alias.name)
                if name == "environs" and alias.name == "env":
                    inner = _Env("environs", {})
                scope.names[alias.asname or alias.name] = inner or External(f"{name}.{alias.name}")

    def _assign(self, target: ast.expr, value: Any, scope: Scope, line: int) -> None:
        where = f"{scope.file}:{line}"
        match target:
            case ast.Name(id=name):
                scope.names[name] = value
                scope.where[name] = where
            case ast.Tuple(elts=targets) | ast.List(elts=targets):
                values = value if isinstance(value, list | tuple) and len(value) == len(targets) else None
                for index, inner in enumerate(targets):
                    self._assign(inner, values[index] if values else UNKNOWN, scope, line)
            case ast.Subscript(value=holder, slice=key):
                held, at = self.value(holder, scope), self.value(key, scope)
                if isinstance(held, Table) and isinstance(at, str | int):
                    held[at] = value
                    held.where[at] = where
            case ast.Attribute() if path := dotted(target):
                # Such as app.conf.task_routes.
                scope.names[path], scope.where[path] = value, where

    def _branches(self, test: ast.expr, body: list[ast.stmt], orelse: list[ast.stmt], scope: Scope) -> None:
        taken = self._in_production(test, scope)
        if taken is not None:
            self._body(body if taken else orelse, scope)
            return
        before = dict(scope.names)
        self._perhaps += 1
        self._body(body, scope)
        # What the first branch says stands.
        self._second(
            orelse, {name for name, one in scope.names.items() if before.get(name, _Unknown) is not one}, scope
        )
        self._perhaps -= 1

    def _second(self, body: list[ast.stmt], kept: set[str], scope: Scope) -> None:
        """A branch that is followed only for the names that the first one did not set."""
        names, where = dict(scope.names), dict(scope.where)
        self._body(body, scope)
        for name in kept & set(names):
            scope.names[name] = names[name]
            if name in where:
                scope.where[name] = where[name]

    def _in_production(self, test: ast.expr, scope: Scope) -> bool | None:
        """Whether a condition holds where the project is deployed; none when both may be."""
        if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
            found = self._in_production(test.operand, scope)
            return None if found is None else not found
        name = dotted(test).rpartition(".")[2]
        value = self.value(test, scope)
        if (chosen := self._database_chosen(test, scope)) is not None:
            return chosen
        if "DEBUG" in name or "TEST" in name or (isinstance(value, Read) and "DEBUG" in value.name):
            return False
        if isinstance(test, ast.Compare) and "sys.argv" in ast.unparse(test):
            return False
        return value if isinstance(value, bool) else None

    def _database_chosen(self, test: ast.expr, scope: Scope) -> bool | None:
        """Whether a condition asks for PostgreSQL; false for another database, none for anything else."""
        match test:
            case ast.Compare(left=left, ops=[ast.Eq()], comparators=[ast.Constant(value=str() as word)]):
                read = self.value(left, scope)
                if not isinstance(read, Read) or not DATABASES.search(word):
                    return None
                if "postg" not in word and "psycopg" not in word and "pg" not in word:
                    return False
                self.choices[read.name] = word
                return True
        return None

    def _with(self, items: list[ast.withitem], body: list[ast.stmt], scope: Scope) -> None:
        prefixed: list[tuple[_Env, str]] = []
        for item in items:
            match item.context_expr:
                case ast.Call(func=ast.Attribute(value=holder, attr="prefixed"), args=[first, *_]):
                    env, prefix = self.value(holder, scope), self.value(first, scope)
                    if isinstance(env, _Env) and isinstance(prefix, str):
                        env.prefix += prefix
                        prefixed.append((env, prefix))
                case expression:
                    self.value(expression, scope)
        self._body(body, scope)
        for env, prefix in prefixed:
            env.prefix = env.prefix.removesuffix(prefix)

    def _class(self, node: ast.ClassDef, scope: Scope) -> Any:
        bases = [self.value(base, scope) for base in node.bases]
        for base in bases:
            if isinstance(base, External) and base.name.endswith((".Env", ".FileAwareEnv")):
                return base
            if isinstance(base, _Fields) or (isinstance(base, External) and base.name.endswith("BaseSettings")):
                return self._pydantic(node, base, scope)
        self._body(node.body, Scope(scope.file, outer=scope))
        return UNKNOWN

    def _pydantic(self, node: ast.ClassDef, base: Any, scope: Scope) -> _Fields:
        fields, prefix = _Fields(base if isinstance(base, _Fields) else {}), ""
        for statement in node.body:
            match statement:
                case ast.Assign(targets=[ast.Name(id="model_config")], value=ast.Call(keywords=keywords)):
                    given = {one.arg: self.value(one.value, scope) for one in keywords}
                    prefix = given.get("env_prefix", "")
        for statement in node.body:
            match statement:
                case ast.AnnAssign(target=ast.Name(id=name), annotation=annotation, value=value):
                    said = ast.unparse(annotation).lower()
                    kind = next((kind for kind in ("bool", "int") if said.startswith(kind)), "")
                    kind = "json" if said.startswith(("list", "dict", "set", "tuple")) else kind
                    default = self._field_default(value, scope)
                    fields[name] = self._read(
                        f"{prefix}{name}".upper(),
                        scope,
                        statement,
                        required=default is _Unknown,
                        kind=kind,
                        default=None if default is _Unknown else default,
                    )
        return fields

    def _field_default(self, value: ast.expr | None, scope: Scope) -> Any:
        """What a field is without its variable; _Unknown when it has to be given."""
        if value is None:
            return _Unknown
        if isinstance(value, ast.Call) and dotted(value.func).endswith("Field"):
            given = {one.arg: one.value for one in value.keywords}
            first = value.args[0] if value.args else given.get("default")
            if first is None and "default_factory" in given:
                return UNKNOWN
            value = first
        if value is None or (isinstance(value, ast.Constant) and value.value is ...):
            return _Unknown
        return self.value(value, scope)

    def _expression(self, node: ast.expr, scope: Scope) -> None:
        """A statement that is a call: what fills something in place is filled in."""
        match node:
            case ast.Call(func=ast.Attribute(value=holder, attr="update")) if isinstance(
                held := self.value(holder, scope), Table
            ):
                for given in (*(self.value(one, scope) for one in node.args), Table(self._keywords(node, scope))):
                    if isinstance(given, Table):
                        held.update(given)
                        held.where.update({key: f"{scope.file}:{node.lineno}" for key in given} | given.where)
            case ast.Call(func=ast.Attribute(value=holder, attr="update")) if (path := dotted(holder)).endswith(
                ".conf"
            ):
                given = Table(self._keywords(node, scope))
                for one in node.args:
                    given.update(found if isinstance(found := self.value(one, scope), Table) else {})
                for key, value in given.items():
                    scope.names[f"{path}.{key}"] = value
                    scope.where[f"{path}.{key}"] = f"{scope.file}:{node.lineno}"
            case ast.Call(func=ast.Attribute(value=holder, attr="append" | "extend" as how), args=[first]):
                held, added = self.value(holder, scope), self.value(first, scope)
                if isinstance(held, list):
                    held.extend([added] if how == "append" else added if isinstance(added, list | tuple) else [])
            case _:
                self.value(node, scope)

    # Expressions

    def value(self, node: ast.expr | None, scope: Scope) -> Any:
        """What an expression is, as far as it can be told."""
        match node:
            case ast.Constant(value=value):
                return value
            case ast.Name(id=name):
                known = scope.look(name)
                return External(name) if known is UNKNOWN and hasattr(builtins, name) else known
            case ast.List(elts=parts) | ast.Tuple(elts=parts) | ast.Set(elts=parts):
                return self._several(parts, scope)
            case ast.Dict():
                return self._dict(node, scope)
            case ast.JoinedStr(values=parts):
                return _joined(self.value(part, scope) for part in parts)
            case ast.FormattedValue(value=inner) | ast.Starred(value=inner) | ast.Await(value=inner):
                return self.value(inner, scope)
            case ast.NamedExpr(target=target, value=inner):
                value = self.value(inner, scope)
                self._assign(target, value, scope, node.lineno)
                return value
            case ast.BinOp():
                return self._operation(node, scope)
            case ast.BoolOp(op=op, values=parts):
                return self._either([self.value(part, scope) for part in parts], isinstance(op, ast.Or))
            case ast.UnaryOp(op=op, operand=inner):
                value = self.value(inner, scope)
                if isinstance(op, ast.Not):
                    return not value if isinstance(value, bool) else value
                return -value if isinstance(op, ast.USub) and isinstance(value, int | float) else UNKNOWN
            case ast.IfExp(test=test, body=body, orelse=orelse):
                taken = self._in_production(test, scope)
                if taken is not None:
                    return self.value(body if taken else orelse, scope)
                self._perhaps += 1
                first, second = self.value(body, scope), self.value(orelse, scope)
                self._perhaps -= 1
                return second if first is UNKNOWN or first is None else first
            case ast.Compare(left=left, ops=ops, comparators=others):
                return self._compared(self.value(left, scope), ops[0], self.value(others[0], scope))
            case ast.Attribute():
                return self._attribute(node, scope)
            case ast.Subscript(value=holder, slice=key):
                return self._item(self.value(holder, scope), self.value(key, scope), node, scope)
            case ast.Call():
                return self._call(node, scope)
            case (
                ast.ListComp(elt=each, generators=[one])
                | ast.GeneratorExp(elt=each, generators=[one])
                | ast.SetComp(elt=each, generators=[one])
            ):
                return self._comprehension(one, scope, lambda inner: self.value(each, inner))
            case ast.DictComp(key=key, value=value, generators=[one]):
                pairs = self._comprehension(
                    one, scope, lambda inner: (self.value(key, inner), self.value(value, inner))
                )
                hashable = [pair for pair in pairs if isinstance(pair[0], str | int)] if isinstance(pairs, list) else []
                return Table(hashable) if isinstance(pairs, list) else UNKNOWN
            case _:
                return UNKNOWN

    def _several(self, parts: list[ast.expr], scope: Scope) -> list[Any]:
        found: list[Any] = []
        for part in parts:
            value = self.value(part, scope)
            if isinstance(part, ast.Starred) and isinstance(value, list | tuple):
                found += value
            else:
                found.append(value)
        return found

    def _dict(self, node: ast.Dict, scope: Scope) -> Any:
        table, spread = Table(), None
        for key, value in zip(node.keys, node.values, strict=True):
            found = self.value(value, scope)
            if key is None:
                spread = found if isinstance(found, Read) else spread
                if isinstance(found, Table):
                    table.update(found)
                    table.where.update(found.where)
            elif isinstance(name := self.value(key, scope), str | int):
                table[name] = found
                table.where[name] = f"{scope.file}:{value.lineno}"
        return spread or table

    def _comprehension(self, one: ast.comprehension, scope: Scope, each: Callable[[Scope], Any]) -> Any:
        over = self.value(one.iter, scope)
        if isinstance(over, Read | Joined):
            return over
        if isinstance(over, Table):
            over = list(over)
        if not isinstance(over, list | tuple | range) or len(over) > LONGEST:
            return UNKNOWN
        found = []
        for item in over:
            inner = Scope(scope.file, outer=scope)
            self._assign(one.target, item, inner, one.iter.lineno)
            found.append(each(inner))
        return found

    def _operation(self, node: ast.BinOp, scope: Scope) -> Any:
        left, right = self.value(node.left, scope), self.value(node.right, scope)
        match node.op:
            case ast.Add():
                return _added(left, right)
            case ast.Div() if isinstance(left, Read):
                return Joined((left, "/", right))
            case ast.Div() if isinstance(left, Place):
                return _below(left, [right])
            case ast.Mod() if isinstance(left, str):
                values = iter(right if isinstance(right, list | tuple) else [right])
                pieces = left.replace("%d", "%s").split("%s")
                return _joined(itertools.chain(*((piece, next(values, "")) for piece in pieces)))
            case ast.BitOr() if isinstance(left, Table) and isinstance(right, Table):
                merged = Table(left | right)
                merged.where = left.where | right.where
                return merged
            case ast.Mult() | ast.Sub() | ast.FloorDiv() if all(type(one) in (int, float) for one in (left, right)):
                kinds: dict[type, Callable[[Any, Any], Any]] = {
                    ast.Mult: lambda a, b: a * b,
                    ast.Sub: lambda a, b: a - b,
                    ast.FloorDiv: lambda a, b: a // b if b else UNKNOWN,
                }
                return kinds[type(node.op)](left, right)
            case _:
                return next((one for one in (left, right) if isinstance(one, Read)), UNKNOWN)

    def _either(self, values: list[Any], is_or: bool) -> Any:
        first, *rest = values
        if is_or and isinstance(first, Read) and not first.required and first.default in (None, "", UNKNOWN):
            other = rest[0]
            return replace(first, default=UNKNOWN if isinstance(other, Read | Joined) else other)
        if all(isinstance(value, bool) for value in values):
            return any(values) if is_or else all(values)
        known = [value for value in values if value is not UNKNOWN]
        return next((one for one in known if isinstance(one, Read)), known[0] if known and is_or else UNKNOWN)

    def _compared(self, left: Any, operator: ast.cmpop, right: Any) -> Any:
        if isinstance(left, Read):
            if isinstance(operator, ast.NotEq) and isinstance(right, str):
                return replace(left, kind="not", separator=right)
            return replace(left, kind="truthy" if isinstance(operator, ast.IsNot) else "bool")
        if isinstance(right, External) and right.name in ENVIRONMENT:
            return UNKNOWN
        if all(isinstance(one, str | int) for one in (left, right)) and isinstance(operator, ast.Eq):
            return left == right
        return UNKNOWN

    def _attribute(self, node: ast.Attribute, scope: Scope) -> Any:
        path = dotted(node)
        if path and scope.look(path) is not UNKNOWN:
            return scope.look(path)
        holder = self.value(node.value, scope)
        if isinstance(holder, Scope):
            inner = holder.names.get(node.attr)
            return (
                inner
                if inner is not None
                else self.module(f"{self.tree.module_of(holder.file)}.{node.attr}") or UNKNOWN
            )
        if isinstance(holder, External):
            return External(f"{holder.name}.{node.attr}")
        if isinstance(holder, _Fields):
            return holder.get(node.attr, UNKNOWN)
        if isinstance(holder, Place):
            if node.attr == "parent":
                return Place(posixpath.normpath(posixpath.join(holder.path, "..")) if holder.path != "." else "..")
            return holder if node.attr == "parents" else UNKNOWN
        return UNKNOWN

    def _item(self, holder: Any, key: Any, node: ast.Subscript, scope: Scope) -> Any:
        if isinstance(holder, External) and holder.name in ENVIRONMENT and isinstance(key, str):
            return self._read(key, scope, node, required=True)
        if isinstance(holder, _Env) and isinstance(key, str):
            return self._read(holder.prefix + key, scope, node, required=True)
        if isinstance(holder, Place) and isinstance(key, int):
            return Place(posixpath.normpath(posixpath.join(holder.path, *[".."] * (key + 1))))
        if isinstance(holder, dict) and isinstance(key, str | int):
            return holder.get(key, UNKNOWN)
        if isinstance(holder, list | tuple) and isinstance(key, int) and -len(holder) <= key < len(holder):
            return holder[key]
        return UNKNOWN if not isinstance(holder, Read) else holder

    # Calls

    def _keywords(self, node: ast.Call, scope: Scope) -> dict[str, Any]:
        return {one.arg: self.value(one.value, scope) for one in node.keywords if one.arg}

    def _call(self, node: ast.Call, scope: Scope) -> Any:
        # Celery[Task]("shop") is Celery("shop").
        function = node.func.value if isinstance(node.func, ast.Subscript) else node.func
        called = self.value(function, scope)
        if isinstance(node.func, ast.Attribute):
            holder = self.value(node.func.value, scope)
            if isinstance(holder, _Env):
                return self._from_env(holder, node.func.attr, node, scope)
            if isinstance(holder, Read | str | Place | Table | Joined):
                return self._method(holder, node.func.attr, node, scope)
        if isinstance(called, _Env):
            return self._from_env(called, "", node, scope)
        if isinstance(called, _Fields):
            return called
        arguments, keywords = self._several(node.args, scope), self._keywords(node, scope)
        if isinstance(called, _Function):
            return self._inlined(called, arguments, keywords, node, scope)
        name = called.name if isinstance(called, External) else dotted(node.func)
        return self._external(name, arguments, keywords, node, scope)

    def _external(self, name: str, arguments: list[Any], keywords: dict[str, Any], node: ast.Call, scope: Scope) -> Any:
        first = arguments[0] if arguments else UNKNOWN
        base = name.rpartition(".")[2]
        match name:
            case "os.environ.get" | "os.getenv" | "os.environ.pop":
                default = keywords.get("default", arguments[1] if len(arguments) > 1 else None)
                return self._read(first, scope, node, default=default)
            case "decouple.config" | "decouple.AutoConfig" | "decouple.config.get" if isinstance(first, str):
                return self._decoupled(first, arguments, keywords, node, scope)
            case "environ.Env" | "environ.FileAwareEnv" | "environs.Env" | "environs.EnvMeta":
                schema = {key: _schema(one) for key, one in keywords.items()}
                return _Env(name.partition(".")[0], schema, str(keywords.get("prefix") or ""))
            case "dj_database_url.config":
                default = keywords.get("default", arguments[1] if len(arguments) > 1 else None)
                name = keywords.get("env", first if arguments else "DATABASE_URL")
                return self._read(name, scope, node, default=default, kind="db")
            case "str" | "pathlib.Path" | "pathlib.PurePath" | "os.fspath" | "os.path.abspath" | "os.path.realpath":
                return _below(first, arguments[1:]) if isinstance(first, Place) else first
            case "os.path.dirname" if isinstance(first, Place):
                return Place(posixpath.normpath(posixpath.join(first.path, "..")))
            case "os.path.join" if isinstance(first, Place):
                return _below(first, arguments[1:])
            case "os.path.join" if isinstance(first, Read) and len(arguments) > 1:
                return Joined((first, "/", *arguments[1:]))
            case "range" if all(isinstance(one, int) for one in arguments) and arguments:
                return range(*arguments[:3])
            case "dict":
                return Table({**(first if isinstance(first, dict) else {}), **keywords})
            case "list" | "tuple" | "set" | "sorted" | "frozenset" if not isinstance(first, Read):
                is_short = isinstance(first, list | tuple | range | dict) and len(first) <= LONGEST
                return list(first) if is_short else [] if not arguments else UNKNOWN
            case "bool" if isinstance(first, Read):
                return first if first.kind in ("int", "bool") else replace(first, kind="truthy")
        reads = [one for one in (*arguments, *keywords.values()) if isinstance(one, Read)]
        if base == "parse" and "database" in name and reads:
            return replace(reads[0], kind="db")
        if len(reads) == 1 and base[:1].islower():
            return replace(reads[0], kind=KINDS[base]) if base in KINDS and not reads[0].kind else reads[0]
        return Made(name, tuple(arguments), keywords, f"{scope.file}:{node.lineno}") if name else UNKNOWN

    def _decoupled(
        self, name: str, arguments: list[Any], keywords: dict[str, Any], node: ast.Call, scope: Scope
    ) -> Read:
        default = keywords.get("default", arguments[1] if len(arguments) > 1 else _Unknown)
        cast = next((ast.unparse(one.value) for one in node.keywords if one.arg == "cast"), "")
        cast = ast.unparse(node.args[2]) if len(node.args) > 2 else cast
        kind = KINDS.get(cast.partition("(")[0].rpartition(".")[2], "list" if ".split(" in cast else "")
        kind = "db" if cast.startswith(("db_url", "dj_database_url", "dburl")) else kind
        return self._read(
            name, scope, node, required=default is _Unknown, default=None if default is _Unknown else default, kind=kind
        )

    def _from_env(self, env: _Env, method: str, node: ast.Call, scope: Scope) -> Any:
        if method in NO_READS or method.startswith("_"):
            return UNKNOWN
        arguments, keywords = self._several(node.args, scope), self._keywords(node, scope)
        kind = KINDS.get(method, "")
        name = arguments[0] if arguments else keywords.get("var", keywords.get("name", DEFAULT_NAMES.get(kind)))
        if not isinstance(name, str):
            return UNKNOWN
        default = keywords.get("default", _Unknown)
        if default is _Unknown and len(arguments) > 1 and not (env.library == "environ" and not method):
            default = arguments[1]
        declared, own = env.schema.get(name, ("", _Unknown))
        default = own if default is _Unknown else default
        cast = KINDS.get(str(getattr(keywords.get("cast"), "name", "")), "")
        return self._read(
            env.prefix + name,
            scope,
            node,
            required=default is _Unknown,
            default=None if default is _Unknown else default,
            kind=kind or cast or declared,
        )

    def _method(self, holder: Any, method: str, node: ast.Call, scope: Scope) -> Any:
        arguments = self._several(node.args, scope)
        if isinstance(holder, Place):
            if method in ("resolve", "absolute", "as_posix", "expanduser"):
                return holder
            return _below(holder, arguments) if method in ("joinpath", "path") else UNKNOWN
        if isinstance(holder, Read):
            if method == "split":
                # Without an argument it is any space.
                between = arguments[0] if arguments and isinstance(arguments[0], str) else " "
                return replace(holder, kind="list", separator=between)
            return holder
        if isinstance(holder, Table):
            key = arguments[0] if arguments else None
            if method == "get" and isinstance(key, str | int):
                return holder.get(key, arguments[1] if len(arguments) > 1 else None)
            if method in ("copy", "items", "keys", "values"):
                each = {"copy": Table(holder), "items": [list(pair) for pair in holder.items()], "keys": list(holder)}
                return each.get(method, list(holder.values()))
            return UNKNOWN
        if isinstance(holder, str) and method == "format":
            values = iter(arguments)
            given = self._keywords(node, scope)
            pieces = [part for part in _formatted(holder)]
            return _joined(
                piece if field_ is None else given.get(field_, next(values, "")) if field_ else next(values, "")
                for piece, field_ in pieces
            )
        if isinstance(holder, str) and method == "split":
            return holder.split(*(one for one in arguments[:1] if isinstance(one, str)))
        if isinstance(holder, str) and method == "join":
            return UNKNOWN
        return holder if method in PASSED_ON else UNKNOWN

    def _inlined(
        self, function: _Function, arguments: list[Any], keywords: dict[str, Any], node: ast.Call, scope: Scope
    ) -> Any:
        """What a function of the project gives for these arguments."""
        if len(self._calls) >= DEEPEST:
            return UNKNOWN
        inner = Scope(function.scope.file, outer=function.scope)
        given = function.node.args
        names = [one.arg for one in (*given.posonlyargs, *given.args)]
        defaults = dict(zip(reversed(names), reversed(given.defaults), strict=False))
        defaults |= {one.arg: two for one, two in zip(given.kwonlyargs, given.kw_defaults, strict=True) if two}
        inner.names |= {name: self.value(one, function.scope) for name, one in defaults.items()}
        inner.names |= dict(zip(names, arguments, strict=False)) | keywords
        self._calls.append(f"{scope.file}:{node.lineno}")
        self._body(function.node.body, inner)
        self._calls.pop()
        return next((one for one in inner.returned if one is not UNKNOWN and one is not None), UNKNOWN)

    def _read(self, name: Any, scope: Scope, node: ast.AST, **said: Any) -> Any:
        if not isinstance(name, str) or not NAME.fullmatch(name):
            return UNKNOWN
        where = self._calls[0] if self._calls else f"{scope.file}:{getattr(node, 'lineno', 0)}"
        said["required"] = said.get("required", False) and not self._perhaps
        found = Read(name=name, where=where, **said)
        self.reads.append(found)
        return found


def _added(left: Any, right: Any) -> Any:
    if isinstance(left, list) and isinstance(right, list | tuple):
        return [*left, *right]
    if isinstance(left, list) or isinstance(right, list):
        return left if isinstance(left, list) else right
    if isinstance(left, Place) and isinstance(right, str):
        return Place(posixpath.normpath(left.path + right))
    if isinstance(left, str | Joined | Read) and isinstance(right, str | Joined | Read):
        return _joined([left, right])
    if all(type(one) in (int, float) for one in (left, right)):
        return left + right
    return next((one for one in (left, right) if isinstance(one, Read)), UNKNOWN)


def _joined(parts: Iterable[Any]) -> Any:
    """Parts of a text as one."""
    flat: list[Any] = []
    for part in parts:
        inner = part.parts if isinstance(part, Joined) else (str(part) if isinstance(part, int | float) else part,)
        for one in inner:
            if isinstance(one, str) and flat and isinstance(flat[-1], str):
                flat[-1] += one
            elif one != "":
                flat.append(one)
    if all(isinstance(part, str) for part in flat):
        return "".join(flat)
    return flat[0] if len(flat) == 1 else Joined(tuple(flat))


def _below(place: Place, parts: Iterable[Any]) -> Any:
    names = list(parts)
    if not all(isinstance(name, str) for name in names):
        return Joined(tuple(names))
    return Place(posixpath.normpath(posixpath.join(place.path, *names)))


def _schema(given: Any) -> tuple[str, Any]:
    """What django-environ is told of a variable beforehand: its type, and its default."""
    cast, default = (given[0], given[1]) if isinstance(given, list) and len(given) == 2 else (given, _Unknown)
    name = getattr(cast, "name", "")
    return KINDS.get(name, ""), default


def _formatted(text: str) -> Iterable[tuple[str, str | None]]:
    """The pieces of a format string: a text with none, or a field's name."""
    for literal, name, _, _ in string.Formatter().parse(text):
        if literal:
            yield literal, None
        if name is not None:
            yield "", name
