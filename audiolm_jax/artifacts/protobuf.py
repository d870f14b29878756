"""Protobuf messages of other programs whose Python classes are not at hand, declared by a table."""

from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

# Message -> field -> its number and type; a type in brackets is repeated.
Messages = dict[str, dict[str, tuple[int, str | list[str]]]]


def message_class(messages: Messages, wanted: str) -> Any:
    """The class of one of these messages (proto3), in a pool of its own: no other is disturbed."""
    file = descriptor_pb2.FileDescriptorProto(name="a.proto", package="a", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto
    for message, fields in messages.items():
        declared = file.message_type.add(name=message)
        for name, (number, kind) in fields.items():
            repeated, kind = isinstance(kind, list), kind[0] if isinstance(kind, list) else kind
            field = declared.field.add(name=name, number=number)
            field.label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            if kind in messages:
                field.type, field.type_name = kinds.TYPE_MESSAGE, f".a.{kind}"
            else:
                field.type = kinds.Type.Value(f"TYPE_{kind.upper()}")
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"a.{wanted}"))
