"""The JSON Schema of seed files (draft 2020-12), with which editors complete and check them."""

from typing import Final

from backctl.application.seeding.schema import NEVER, SEED, Member, Shape

DIALECT: Final = "https://json-schema.org/draft/2020-12/schema"

Schema = dict[str, object]

_UUID: Final = "^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$"
_DURATION: Final = "^[0-9]{1,13}(ms|s|m|h|d|w)$"
_TIME: Final = rf"^({NEVER}|[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}}([Tt ][0-9:]{{8}}(\.[0-9]+)?([Zz]|[+-][0-9:]{{5}}))?)$"
_VARIABLE: Final = "^[A-Za-z_][A-Za-z0-9_]{0,199}$"


def seed_schema() -> Schema:
    """Return the schema as JSON values. It accepts every valid seed file, and some that name an unknown role."""
    return {"$schema": DIALECT, "title": "backctl seed file", **_mapping(SEED)}


def _mapping(shape: Shape) -> Schema:
    schema: Schema = {
        "type": "object",
        "properties": {key: _member(member) for key, member in shape.members.items()},
        "additionalProperties": False,
    }
    if shape.required:
        schema["required"] = list(shape.required)
    if shape.one_of:
        schema["anyOf"] = [{"required": [key]} for key in shape.one_of]
    if shape.exclusive:
        schema["allOf"] = [{"not": {"required": list(pair)}} for pair in shape.exclusive]
    return schema


def _member(member: Member) -> Schema:
    return {"description": member.title, **_type(member)}


def _type(member: Member) -> Schema:
    match member.kind:
        case "boolean":
            return {"type": "boolean"}
        case "integer" if member.least == member.most:
            return {"const": member.least}
        case "integer":
            return {"type": "integer", "minimum": member.least, "maximum": member.most}
        case "choice":
            return {"enum": list(member.choices)}
        case "id":
            return {"type": "string", "pattern": _UUID}
        case "time":
            return {"type": "string", "pattern": _TIME}
        case "duration":
            return {"type": "string", "pattern": _DURATION}
        case "secret":
            sources = [_source(kind) for kind in member.sources]
            return {"oneOf": [{"const": member.without}, *sources] if member.without else sources}
        case "mapping" if member.shape is not None:
            return _mapping(member.shape)
        case "list" if member.shape is not None:
            elements: Schema = {"type": "array", "items": _mapping(member.shape)}
            return {"oneOf": [_mapping(member.shape), elements]} if member.may_be_single else elements
    text: Schema = {"type": "string", "minLength": 1}
    if member.most:
        text["maxLength"] = member.most
    if member.pattern:
        text["pattern"] = f"^{member.pattern}$"
    return text


def _source(kind: str) -> Schema:
    values: dict[str, Schema] = {
        "env": {"type": "string", "pattern": _VARIABLE, "description": "The name of an environment variable."},
        "file": {"type": "string", "minLength": 1, "description": "The path of a file, relative to the seed file."},
        "generate": {"const": True, "description": "Generate a password; applying the seed writes it to a file."},
    }
    return {"type": "object", "properties": {kind: values[kind]}, "required": [kind], "additionalProperties": False}
