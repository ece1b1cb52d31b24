"""The course's simulator, as far as a program that drives its car can tell.

It is written from what the simulator does, not with a Socket.IO library: those ask to be connected, which the
simulator never does.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import websocket

if TYPE_CHECKING:
    from types import TracebackType


@dataclass(frozen=True)
class Event:
    name: str
    data: dict[str, str]

    def number(self, key: str) -> float:
        """What is under `key`, which must be a number written as a string."""
        assert isinstance(self.data[key], str)
        return float(self.data[key])


class Simulator:
    """One connection to the program that listens on `port`."""

    def __init__(self, port: int) -> None:
        address = f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket"
        self._socket = websocket.create_connection(address, timeout=20)
        self.pongs: list[str] = []
        self._early: list[str] = []
        try:
            self.greeting = self._greeting()
        except BaseException:
            self.vanish()
            raise

    def _greeting(self) -> dict[str, Any]:
        """What Engine.IO's open says; Socket.IO's connect comes next, or after what the server did on it."""
        opened = self.receive()
        assert opened.startswith("0"), f"Engine.IO's open comes first, not {opened!r}"
        while (packet := self.receive()) != "40":
            assert packet.startswith("42"), f"Socket.IO's connect comes second, not {packet!r}"
            self._early.append(packet)
        return cast("dict[str, Any]", json.loads(opened[1:]))

    def __enter__(self) -> Simulator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.vanish()

    def vanish(self) -> None:
        """The end without a word, as when the simulator's window is closed."""
        self._socket.shutdown()  # type: ignore[no-untyped-call]

    def receive(self) -> str:
        """The next packet."""
        packet = self._socket.recv()
        assert packet, "the connection was closed"
        return cast("str", packet)

    def send(self, packet: str | bytes) -> None:
        self._socket.send(packet) if isinstance(packet, str) else self._socket.send_binary(packet)

    def ping(self, payload: str = "") -> None:
        self.send(f"2{payload}")

    def ask(self, telemetry: object) -> Event:
        """The answer to a telemetry; pongs that come before it are kept in `pongs`."""
        self.send("42" + json.dumps(["telemetry", telemetry]))
        return self.answer()

    def answer(self) -> Event:
        packet = self._early.pop(0) if self._early else self.receive()
        while packet.startswith("3"):
            self.pongs.append(packet[1:])
            packet = self.receive()
        assert packet.startswith("42"), f"not an event: {packet!r}"
        name, data = json.loads(packet[2:])
        return Event(name, data)


@dataclass
class Car:
    """As much of the car as a speed controller needs: the throttle adds to its speed, the air takes of it."""

    speed: float = 0.0

    def move(self, throttle: float, seconds: float) -> None:
        self.speed += (10 * throttle - 0.2 * self.speed) * seconds

    def telemetry(self, picture: str) -> dict[str, str]:
        return {
            "steering_angle": "0.0000",
            "throttle": "0.0000",
            "speed": f"{self.speed:.4f}",
            "image": picture,
        }
