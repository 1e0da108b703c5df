"""One program for both: modelkit's users' code, run with ``modelkit.assets`` or with ``holdfast.modelkit`` in its place.

``program.py PACKAGE`` imports the package once, for that takes a second and more, and reads requests: a line of JSON each, with ``words``
(COMMAND ARGUMENT...), ``environ`` and ``folder``. Each is answered by a process of its own, forked for it, which sees nothing of any other.
An answer is a line: JSON of what the command returns, or ``{"error": [the error's classes], "message": ...}``; empty where the process died.
"""

from __future__ import annotations

import contextlib
import importlib
import inspect
import io
import json
import os
import sys
import traceback


def new(package, source, name, version):
    """Push the first version."""
    return provider(package).new(source, name, version)


def update(package, source, name, version):
    """Push another version."""
    return provider(package).update(source, name, version)


def push(package, source, name, version):
    """Push a version that is not listed."""
    return provider(package).push(source, name, version)


def versions(package, name):
    """The listed versions."""
    return provider(package).get_versions_info(name)


def meta(package, name, version):
    """A version's meta."""
    found = provider(package).get_asset_meta(name, version)
    return found | {"push_date": found["push_date"].isoformat()}


def listing(package):
    """Every asset."""
    return [[name, found] for name, found in provider(package).iterate_assets()]


def fetch(package, spec, *options):
    """Fetch into MODELKIT_ASSETS_DIR."""
    made = importlib.import_module(f"{package}.manager").AssetsManager()
    if "local" in options:
        made.storage_provider = None
    info = made.fetch_asset(spec, return_info=True, force_download=True if "force" in options else None)
    return {key: info.get(key) for key in ("path", "from_cache", "version")}


def provider(package):
    """The provider that the environment names."""
    return importlib.import_module(f"{package}.remote").StorageProvider()


def signatures(package, *options):
    """The parameters of the public methods of every sub-module's classes; with ``own`` of those that are made there."""
    found = {}
    for name in SUB_MODULES:
        module = importlib.import_module(f"{package}.{name}")
        for kind in vars(module).values():
            if inspect.isclass(kind) and ("own" not in options or kind.__module__ == module.__name__):
                for method, function in inspect.getmembers(kind, inspect.isroutine):
                    if method == "__init__" or not method.startswith("_"):
                        found[f"{name}.{kind.__name__}.{method}"] = parameters(function)
    return found


SUB_MODULES = (
    *(
        "manager",
        "remote",
        "settings",
        "errors",
        "versioning.versioning",
        "versioning.major_minor",
        "versioning.simple_date",
    ),
    *("drivers.abc", "drivers.local", "drivers.s3", "drivers.gcs", "drivers.azure"),
)


def parameters(function):
    """Names of the parameters, less those that stand for any."""
    try:
        found = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    return [each.name for each in found if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]


def library(package, spec):
    """The real ModelLibrary, with this package's manager in place of its own, loads a model and asks it."""
    import modelkit.core.library as core
    from modelkit import Model, ModelLibrary

    core.AssetsManager = importlib.import_module(f"{package}.manager").AssetsManager

    class Reader(Model):
        """Answers with what its asset says."""

        CONFIGURATIONS = {"reader": {"asset": spec}}  # noqa: RUF012

        def _load(self):
            with open(os.path.join(self.asset_path, "a.txt")) as file:
                self.text = file.read()

        def _predict(self, item):
            return self.text + item

    loaded = ModelLibrary(models=Reader)
    made = loaded.assets_manager
    return {
        "answer": loaded.get("reader")("!"),
        "manager": type(made).__module__,
        "version": loaded.assets_info[next(iter(loaded.assets_info))].version,
    }


def main():
    """Answer requests until there are no more."""
    package = sys.argv[1]
    for name in SUB_MODULES:
        importlib.import_module(f"{package}.{name}")
    for line in sys.stdin:
        print(asked(package, **json.loads(line)), flush=True)


def asked(package, words, environ, folder):
    """The answer of a new process."""
    reader, writer = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.environ.clear()
            os.environ.update(environ)
            os.chdir(folder)
            with open(writer, "w") as file:
                file.write(answered(package, *words))
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(0)
    os.close(writer)
    with open(reader) as file:
        text = file.read()
    os.waitpid(child, 0)
    return text


def answered(package, command, *arguments):
    """Run one command; what libraries print meanwhile is nobody's."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            answer = globals()[command](package, *arguments)
        except Exception as error:
            answer = {"error": [kind.__name__ for kind in type(error).__mro__], "message": str(error)}
    return json.dumps(answer)


if __name__ == "__main__":
    main()
