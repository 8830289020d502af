#!/usr/bin/env python3
"""Checks that tools which others write understand our OpenAPI document: `python3 generate_clients.py openapi.json`.

Validates the document, generates a client with two generators, and imports every module of what they make. No network.
Exit 1 with the tool's words if anything fails; a line for each step otherwise.
"""
import compileall
import importlib
import json
import os
import pkgutil
import subprocess
import sys
import tempfile
from pathlib import Path

from openapi_spec_validator import validate


def run(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", *words], capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{words[0]}: exit {done.returncode}\n{done.stdout}{done.stderr}")


def import_all(name: str) -> int:
    package = importlib.import_module(name)
    names = [module.name for module in pkgutil.walk_packages(getattr(package, "__path__", []), f"{name}.")]
    for module in names:
        importlib.import_module(module)
    return 1 + len(names)


def main(document: Path) -> None:
    parsed = json.loads(document.read_text())
    validate(parsed)
    operations = [operation for path in parsed["paths"].values() for operation in path.values()]
    print(f"valid: {len(operations)} operations")
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        sys.path.insert(0, folder)
        sys.dont_write_bytecode = True
        Path("config.yml").write_text("post_hooks: []\n")
        run("openapi_python_client", "generate", "--path", str(document), "--meta", "none",
            "--output-path", "liaison_api", "--config", "config.yml", "--fail-on-warning")
        assert compileall.compile_dir("liaison_api", quiet=1), "what openapi-python-client made does not compile"
        modules = import_all("liaison_api")
        # A module for each operation: none was left out.
        made = len([path for path in Path("liaison_api/api").rglob("*.py") if path.name != "__init__.py"])
        assert made == len(operations), f"{made} operations in the client, {len(operations)} in the document"
        print(f"openapi-python-client: {modules} modules")
        run("datamodel_code_generator", "--input", str(document), "--input-file-type", "openapi", "--output", "models.py",
            "--output-model-type", "pydantic_v2.BaseModel", "--formatters", "builtin")
        models = importlib.import_module("models")
        missing = [name for name in parsed["components"]["schemas"] if not hasattr(models, name)]
        assert not missing, f"datamodel-code-generator left out {missing}"
        print(f"datamodel-code-generator: {len(parsed['components']['schemas'])} models")


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
