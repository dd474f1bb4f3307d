"""Bodies of responses that cannot fill the memory, however they are packed, and of which nothing is lost."""

import zlib
from collections.abc import AsyncIterator
from typing import cast

import httpx2

LARGEST = 16 * 2**20  # bytes of a response, unpacked
KEPT = 2**16  # of a larger one, for the record


class Bounded(httpx2.AsyncByteStream):
    """The body of a response, unpacked: as much as came before it broke off, and little of one beyond the limit.

    Why it is not whole is the response's extension "fault".
    """

    def __init__(self, response: httpx2.Response) -> None:
        self.response, self.stream = response, cast(httpx2.AsyncByteStream, response.stream)
        packed = response.headers.pop("content-encoding", "").lower()  # else it would be unpacked without a limit
        self.unpack = zlib.decompressobj(wbits=47).decompress if packed in {"gzip", "x-gzip", "deflate"} else None

    async def __aiter__(self) -> AsyncIterator[bytes]:
        body = bytearray()
        try:
            async for chunk in self.stream:
                body += self.unpack(chunk, LARGEST + 1) if self.unpack else chunk
                if len(body) > LARGEST:
                    del body[KEPT:]
                    self.response.extensions["fault"] = f"it has more than {LARGEST / 2**20:g} MiB"
                    break
        except Exception as error:  # whatever comes over a line
            self.response.extensions["fault"] = f"it broke off ({type(error).__name__})"
        yield bytes(body)

    async def aclose(self) -> None:
        await self.stream.aclose()


async def bound(response: httpx2.Response) -> None:
    """Let a response be read as `Bounded`; a hook of the client."""
    response.stream = Bounded(response)
