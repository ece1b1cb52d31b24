"""Lets a trained network drive the simulator's car, as the course does: python-socketio 4, Flask, eventlet.

    python drive.py model.h5               the network steers, a controller keeps the speed
    python drive.py model.h5 run1          the same, and what the camera sees is kept in run1/
    python video.py run1                   ... of which this makes run1.mp4

Start it, then choose the autonomous mode in the simulator, on the same computer: the simulator looks for
ws://127.0.0.1:4567 and tries again until somebody answers. The model takes the camera's picture as it is,
160 rows of 320 pixels in RGB from 0 to 255, and its first output is the steering angle, from -1 (left) to 1.

No frame of an earlier drive is deleted or mixed with new ones: a folder that holds something already gets
a new folder inside, named by the time.

The simulator sends `telemetry` and waits for `steer`, or for `manual` where the telemetry has no data because
a person drives. It speaks Engine.IO 3: python-socketio 4.6.0 with python-engineio 3.13.2 is the last pair
that understands it. `sdcnd-term1`, the desk of today's packages, has a drive.py that needs neither.
"""

import argparse
import base64
import math
import os
from contextlib import suppress
from datetime import datetime
from io import BytesIO
from pathlib import Path

import eventlet
import eventlet.wsgi
import numpy as np
import socketio
from flask import Flask
from PIL import Image

PICTURE = (320, 160)  # width and height of what the camera sends

sio = socketio.Server()


class PIController:
    """The throttle that brings the car to a speed and keeps it there."""

    PROPORTIONAL, INTEGRAL = 0.1, 0.002

    def __init__(self, speed):
        self.wanted = speed
        self.sum_of_errors = 0.0

    def throttle(self, speed):
        error = self.wanted - speed
        self.sum_of_errors += error
        throttle = self.PROPORTIONAL * error + self.INTEGRAL * self.sum_of_errors
        return min(max(throttle, -1.0), 1.0)


class Driver:
    """One drive, from a connection of the simulator to the next."""

    def __init__(self, model, speed, frames):
        self.model = model
        self.speed = PIController(speed)
        self.frames = frames
        self.angle = 0.0

    def steer(self, telemetry):
        """Whatever is wrong with what came, the simulator waits: hold the wheel, and off the throttle."""
        try:
            picture = picture_of(telemetry)
            throttle = self.speed.throttle(number(telemetry["speed"]))
            self.angle = predict(self.model, picture)
        except Exception as problem:
            print(f"a telemetry that cannot be driven by: {problem!r}", flush=True)
            return self.angle, 0.0
        if self.frames:
            try:
                picture.save(self.frames / f"{now()}.jpg", quality=95)
            except OSError as problem:  # the disk is full, perhaps: the car drives on
                print(f"this frame is not kept: {problem}", flush=True)
        return self.angle, throttle


def serve(model, speed, frames):
    """What is done with each event of the simulator's."""
    drives = {}

    @sio.on("connect")
    def connect(sid, _):
        print("the simulator is connected", flush=True)
        drives[sid] = Driver(model, speed, frames)

    @sio.on("telemetry")
    def telemetry(sid, data=None):
        if not data:
            sio.emit("manual", {}, room=sid)
            return
        angle, throttle = drives[sid].steer(data)
        sio.emit("steer", {"steering_angle": str(angle), "throttle": str(throttle)}, room=sid)

    @sio.on("disconnect")
    def disconnect(sid):
        print("the simulator is gone; waiting for it", flush=True)
        del drives[sid]


def predict(model, picture):
    batch = np.asarray(picture, dtype=np.float32)[None]  # (1, 160, 320, 3)
    angle = float(model.predict_on_batch(batch)[0][0])
    if not math.isfinite(angle):
        raise ValueError(f"the network's angle is {angle}")
    return angle


def picture_of(telemetry):
    picture = Image.open(BytesIO(base64.b64decode(telemetry["image"])))
    if picture.size != PICTURE:
        raise ValueError(f"the picture has {picture.width} x {picture.height} pixels")
    return picture.convert("RGB")


def number(text):
    """Some systems' simulators write 9,5 for 9.5."""
    value = float(str(text).replace(",", "."))
    if not math.isfinite(value):
        raise ValueError(f"{text} is no number")
    return value


def new_folder(folder):
    if folder.is_dir() and any(folder.iterdir()):
        folder = folder / now()
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def now():
    return datetime.utcnow().strftime("%Y_%m_%d_%H_%M_%S_%f")[:-3]


def arguments():
    say = argparse.ArgumentParser(description="Lets a trained network drive the simulator's car.")
    say.add_argument("model", type=Path, help="what Keras saved: an .h5 or .keras file")
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


def main():
    asked = arguments()
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow's greeting fills a screen
    from keras.models import load_model  # takes seconds: not before the command line has been read

    model = load_model(asked.model, compile=False)  # compiling is for training
    predict(model, Image.new("RGB", PICTURE))  # the first picture takes a second, or does not fit the model
    frames = new_folder(asked.frames) if asked.frames else None
    serve(model, asked.speed, frames)

    address = os.environ.get("HOTDESK_ADDRESS", "127.0.0.1")
    try:
        # Left to itself, eventlet would share the port with another program, and each get some of the calls.
        listening = eventlet.listen((address, asked.port), reuse_port=False)
    except OSError as problem:
        raise SystemExit(f"cannot listen on {address}:{asked.port}: {problem.strerror}") from None
    kept = f"; frames go to {frames}" if frames else ""
    print(f"listening on ws://{address}:{asked.port} for the simulator{kept}", flush=True)
    eventlet.wsgi.server(listening, socketio.WSGIApp(sio, Flask(__name__)), log_output=False)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        main()
