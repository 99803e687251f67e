"""The one file of a form."""

from __future__ import annotations

from typing import Any

from fireflow.host.service.lanes import Refused

_MOST_PARTS = 8


class _Parts:
    """What a parser of forms reports: the headers and the bytes of each part."""

    def __init__(self) -> None:
        self.parts: list[tuple[dict[bytes, bytes], list[bytes]]] = []
        self.whole = False
        self._name, self._value = b"", b""

    def callbacks(self) -> Any:
        return {
            "on_part_begin": self._begin,
            "on_part_data": lambda data, start, end: self.parts[-1][1].append(data[start:end]),
            "on_header_begin": self._header,
            "on_header_field": self._field,
            "on_header_value": self._text,
            "on_header_end": self._end_header,
            "on_end": self._end,
        }

    def _begin(self) -> None:
        if len(self.parts) == _MOST_PARTS:
            raise Refused(400, "the form must have the field image alone, not many parts; send only that")
        self.parts.append(({}, []))

    def _header(self) -> None:
        self._name = self._value = b""

    def _field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _text(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        name = self._name.lower()
        if name in self.parts[-1][0]:
            raise Refused(400, "a part of the form must have each header once; send it again")
        self.parts[-1][0][name] = self._value

    def _end(self) -> None:
        self.whole = True


def form_file(body: bytes, content_type: str, field: str) -> tuple[bytes, str]:
    """The bytes and the content type of a form's only file.

    Args:
        body: the whole form.
        content_type: of the request, with the boundary.
        field: what the file's field must be called.

    Raises:
        Refused: the form is not whole, or holds anything else.
    """
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import MultipartParser, parse_options_header

    try:
        _kind, options = parse_options_header(content_type)
        boundary = options.get(b"boundary", b"")
        if not 1 <= len(boundary) <= 70:
            raise Refused(400, "the form must be whole (its boundary is missing or too long); send it again")
        seen = _Parts()
        parser = MultipartParser(boundary, seen.callbacks())
        parser.write(body)
        parser.finalize()
    except (FormParserError, ValueError):
        raise Refused(400, "the form must be whole (its parts are damaged); send it again") from None
    if not seen.whole:
        raise Refused(
            400, f"the form must be whole, with a file in the field {field}, not cut short; send it again"
        )
    if len(seen.parts) != 1:
        raise Refused(
            400,
            f"the form must have the field {field} alone, not {len(seen.parts)} parts; "
            "top and scores are given in the address",
        )
    headers, data = seen.parts[0]
    _kind, options = parse_options_header(headers.get(b"content-disposition", b""))
    if options.get(b"name") != field.encode() or b"filename" not in options:
        raise Refused(400, f"the form must have a file in the field {field}; name it so")
    if headers.get(b"content-transfer-encoding", b"binary").lower() not in (b"binary", b"8bit", b"7bit"):
        raise Refused(415, "the file must be sent as it is, not encoded; leave Content-Transfer-Encoding out")
    kind = headers.get(b"content-type", b"").split(b";")[0].strip().lower()
    return b"".join(data), kind.decode("latin-1")
