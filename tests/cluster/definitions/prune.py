"""Makes the definitions here from those of the projects: `python prune.py CRD.yaml VERSION SOURCE`.

What is left is a JSON schema of the structure alone, in which a field that is not there is an error.
Descriptions, rules in CEL and Pods are left out; Pods are judged by the schemas of Kubernetes itself.
"""

import json
import sys
from pathlib import Path
from typing import Any

import yaml

Schema = dict[str, Any]
LIMITS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems")
KEPT = ("type", "required", "enum", "pattern", *LIMITS)
POD = {"containers", "initContainers", "volumes"}


def pruned(schema: Schema) -> Schema:
    if schema.get("x-kubernetes-int-or-string"):
        return {"type": ["integer", "string"]}
    if schema.get("properties", {}).keys() >= POD:
        return {"type": "object"}
    kept = {key: schema[key] for key in KEPT if key in schema}
    if "items" in schema:
        kept["items"] = pruned(schema["items"])
    if isinstance(schema.get("additionalProperties"), dict):
        kept["additionalProperties"] = pruned(schema["additionalProperties"])
    if "properties" in schema:
        kept["properties"] = {name: pruned(each) for name, each in schema["properties"].items()}
        kept["additionalProperties"] = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
    return kept


def main(path: str, version: str, source: str) -> None:
    """Raises ValueError where the definition has no such version."""
    text = "\n".join(line for line in Path(path).read_text().splitlines() if not line.startswith("{{"))
    definition = yaml.safe_load(text)["spec"]
    (found,) = (each for each in definition["versions"] if each["name"] == version)
    schema = pruned(found["schema"]["openAPIV3Schema"])
    schema["properties"].pop("status", None)
    identity = {"apiVersion": f"{definition['group']}/{version}", "kind": definition["names"]["kind"]}
    for key, value in identity.items():
        schema["properties"][key] = {"const": value}
    told = {"$comment": f"made by prune.py from {source}", **schema}
    target = Path(__file__).with_name(f"{identity['kind']}.json")
    target.write_text(json.dumps(told, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
