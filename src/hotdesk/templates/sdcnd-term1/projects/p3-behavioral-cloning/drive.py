"""Lets a trained network drive the simulator's car.

    python drive.py model.keras            the network steers, a controller keeps the speed
    python drive.py model.keras run1       the same, and what the camera sees is kept in run1/
    python video.py run1                   ... of which this makes run1.mp4

Start it, then choose the autonomous mode in the simulator, on the same computer: the simulator looks for
ws://127.0.0.1:4567 and tries again until somebody answers. The model takes the camera's picture as it is,
160 rows of 320 pixels in RGB from 0 to 255, and its first output is the steering angle, from -1 (left) to 1.

No frame of an earlier drive is deleted or mixed with new ones: a folder that holds something already gets
a new folder inside, named by the time.

How the two talk
    The simulator connects to this program's websocket. Two protocols are stacked in it: Engine.IO 3, of
    which a packet's first digit is, and Socket.IO 2, of which the second is.

        0{"sid": ...}            open: the server greets
        40                       connected: the server, too; this client never asks for it
        2 and 3                  ping and pong: this client pings, the server answers
        42["telemetry", {...}]   event: the car's angle, throttle, speed and picture, all strings
        42["steer", {...}]       event: the answer, angle and throttle; then comes the next telemetry
        42["manual", {}]         event: the answer to a telemetry without data, while a person drives

    The address says EIO=4, but in Engine.IO 4 it is the server who pings, and the client who asks to be
    connected. Today's python-socketio goes by the address and waits forever, so this speaks for itself.
"""

import argparse
import asyncio
import base64
import io
import json
import math
import os
import re
import uuid
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from PIL import Image
from tornado.web import Application
from tornado.websocket import WebSocketClosedError, WebSocketHandler

PICTURE = (320, 160)  # width and height of what the camera sends


class Cruise:
    """A PI controller: the throttle that brings the car to a speed and keeps it there."""

    PROPORTIONAL, INTEGRAL = 0.1, 0.002

    def __init__(self, speed):
        self.wanted = speed
        self.sum_of_errors = 0.0

    def throttle(self, speed):
        error = self.wanted - speed
        self.sum_of_errors += error
        throttle = self.PROPORTIONAL * error + self.INTEGRAL * self.sum_of_errors
        return min(max(throttle, -1.0), 1.0)


class Network:
    """The trained model: a picture in, a steering angle out."""

    def __init__(self, file):
        os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's greeting fills a screen
        import keras  # takes seconds: not before the command line has been read

        self.model = keras.models.load_model(file, compile=False)  # compiling is for training
        # The first picture takes a second, and one that does not fit the model is better known now.
        self.angle(Image.new("RGB", PICTURE))

    def angle(self, picture):
        batch = np.asarray(picture, dtype=np.float32)[None]  # (1, 160, 320, 3)
        angle = float(self.model.predict_on_batch(batch)[0][0])
        if not math.isfinite(angle):
            raise ValueError(f"the network's angle is {angle}")
        return angle


class Frames:
    """Keeps the camera's pictures under the time of their arrival."""

    def __init__(self, folder):
        if folder.is_dir() and any(folder.iterdir()):
            folder = folder / self.now()
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder

    @staticmethod
    def now():
        return datetime.now(UTC).strftime("%Y_%m_%d_%H_%M_%S_%f")[:-3]

    def keep(self, picture):
        picture.save(self.folder / f"{self.now()}.jpg", quality=95)


def picture_of(telemetry):
    picture = Image.open(io.BytesIO(base64.b64decode(telemetry["image"])))
    if picture.size != PICTURE:
        raise ValueError(f"the picture has {picture.width} x {picture.height} pixels")
    return picture.convert("RGB")


def number(text):
    """Some systems' simulators write 9,5 for 9.5."""
    value = float(str(text).replace(",", "."))
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number")
    return value


class Simulator(WebSocketHandler):
    """One connection of the simulator; when it comes again, it gets a fresh one."""

    def initialize(self, network, speed, frames):
        self.network = network
        self.cruise = Cruise(speed)
        self.frames = frames
        self.angle = 0.0

    async def open(self):
        self.set_nodelay(True)  # answers are small, and wait for nothing
        print("the simulator is connected", flush=True)
        greeting = {"sid": uuid.uuid4().hex, "upgrades": [], "pingInterval": 25000, "pingTimeout": 60000}
        await self.send("0" + json.dumps(greeting))
        await self.send("40")

    async def on_message(self, packet):
        try:
            if packet.startswith("2"):
                await self.send("3" + packet[1:])
            elif event := re.fullmatch(r"42\d*(\[.*\])", packet, re.DOTALL):
                await self.on_event(json.loads(event[1]))
            elif packet in ("1", "41"):
                self.close()
        except (TypeError, ValueError, RecursionError):
            print(f"passed over a packet that cannot be read: {packet[:60]!r}", flush=True)

    async def on_event(self, event):
        match event:
            case ["telemetry", dict(telemetry)] if telemetry:
                angle, throttle = self.steer(telemetry)
                await self.emit("steer", {"steering_angle": str(angle), "throttle": str(throttle)})
            case ["telemetry", *_]:
                await self.emit("manual", {})

    def steer(self, telemetry):
        """Whatever is wrong with what came, the simulator waits: hold the wheel, and off the throttle."""
        try:
            picture = picture_of(telemetry)
            throttle = self.cruise.throttle(number(telemetry["speed"]))
            self.angle = self.network.angle(picture)
        except Exception as problem:
            print(f"a telemetry that cannot be driven by: {problem!r}", flush=True)
            return self.angle, 0.0
        if self.frames:
            try:
                self.frames.keep(picture)
            except OSError as problem:  # the disk is full, perhaps: the car drives on
                print(f"this frame is not kept: {problem}", flush=True)
        return self.angle, throttle

    async def emit(self, name, data):
        await self.send("42" + json.dumps([name, data]))

    async def send(self, packet):
        with suppress(WebSocketClosedError):  # gone meanwhile; it will come again
            await self.write_message(packet)

    def on_close(self):
        print("the simulator is gone; waiting for it", flush=True)


def arguments():
    say = argparse.ArgumentParser(description="Lets a trained network drive the simulator's car.")
    say.add_argument("model", type=Path, help="what Keras saved: a .keras or .h5 file")
    say.add_argument("frames", type=Path, nargs="?", help="a folder for what the camera sees")
    say.add_argument("--speed", type=float, default=9.0, help="miles per hour (default: %(default)s)")
    port = os.environ.get("HOTDESK_PORT_SIMULATOR", "4567")
    say.add_argument("--port", type=int, default=port, help="where to listen (default: %(default)s)")
    asked = say.parse_args()
    if not asked.model.is_file():
        say.error(f"there is no file {asked.model}: train a model first, and save it there")
    if asked.frames and asked.frames.exists() and not asked.frames.is_dir():
        say.error(f"{asked.frames} is a file: name a folder for the frames")
    return asked


async def main():
    asked = arguments()
    network = Network(asked.model)
    frames = Frames(asked.frames) if asked.frames else None
    settings = {"network": network, "speed": asked.speed, "frames": frames}
    address = os.environ.get("HOTDESK_ADDRESS", "127.0.0.1")
    try:
        Application([("/socket.io/?", Simulator, settings)]).listen(asked.port, address)
    except OSError as problem:
        raise SystemExit(f"cannot listen on {address}:{asked.port}: {problem.strerror}") from None
    kept = f"; frames go to {frames.folder}" if frames else ""
    print(f"listening on ws://{address}:{asked.port} for the simulator{kept}", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        asyncio.run(main())
