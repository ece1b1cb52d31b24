"""Reading from TLS connections by the mebibyte instead of by the record.

OpenSSL hands out one record, 16 KiB, at a time. Taking that through the layers of an HTTP client costs more
than decrypting it, and between any two records the threads of other downloads take the interpreter away:
together half of the processor's time in a download.
"""

from __future__ import annotations

import ssl

import httpcore2

_AT_ONCE = 1 << 20
_RECORD = 1 << 14


class _LargeReads(ssl.SSLSocket):
    _failed: OSError | None = None

    def recv(self, buflen: int = 1024, flags: int = 0) -> bytes:
        """What is there, waiting for the first record only; an error after it comes at the next call."""
        if failed := self._failed:
            self._failed = None
            raise failed
        pieces = [super().recv(min(buflen, _RECORD), flags)]
        left = buflen - len(pieces[0])
        timeout = self.gettimeout()
        self.setblocking(False)
        try:
            while pieces[-1] and left:
                pieces.append(super().recv(min(left, _RECORD)))
                left -= len(pieces[-1])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            pass
        except OSError as error:
            self._failed = error
        finally:
            self.settimeout(timeout)
        return b"".join(pieces)


def by_large_reads(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context; what connects with it reads so, where Python's own checks certificates.

    The context that asks macOS or Windows for that has sockets of its own kind, which must stay.
    """
    if type(context) is ssl.SSLContext:
        context.sslsocket_class = _LargeReads
        httpcore2.HTTP11Connection.READ_NUM_BYTES = _AT_ONCE
    return context
