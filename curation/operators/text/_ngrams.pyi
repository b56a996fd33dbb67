from typing_extensions import Buffer

class Matcher:
    def __new__(cls, offsets: Buffer, data: Buffer, spaced: bool) -> Matcher: ...
    def match(
        self, offsets: Buffer, data: Buffer, first: int, count: int, /
    ) -> tuple[bytes, bytes]: ...
