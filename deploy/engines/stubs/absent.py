"""Stands in for a package that SGLang imports on a CPU but, for Llama-type models, never calls: every name
and every submodule can be imported; whatever is called raises.
"""

import importlib.abc
import importlib.machinery
import sys
from types import ModuleType


class Absent(type):
    """A class whose attributes are classes like it, so that enum members and nested names resolve, too."""

    def __getattr__(cls, name: str) -> "Absent":
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{cls.__name__}.{name}", (), {})

    def __call__(cls, *_: object, **__: object) -> object:
        raise NotImplementedError(f"{cls.__name__} is a stand-in: the real package is not installed")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Makes submodules of `package` out of nothing."""

    def __init__(self, package: str) -> None:
        self.package = package

    def find_spec(self, name: str, *_: object) -> importlib.machinery.ModuleSpec | None:
        if not name.startswith(f"{self.package}."):
            return None
        return importlib.machinery.ModuleSpec(name, self, is_package=True)

    def exec_module(self, module: ModuleType) -> None:
        fill(module)


def fill(module: ModuleType) -> None:
    def get(name: str) -> Absent:
        if name.startswith("__"):
            raise AttributeError(name)
        return Absent(f"{module.__name__}.{name}", (), {})

    module.__dict__["__getattr__"] = get


def stand_in(package: str) -> None:
    """Makes the imported `package` yield stand-ins from now on."""
    fill(sys.modules[package])
    sys.meta_path.append(Finder(package))
