"""A small simulator, where the course's needs a window: a car, a driver who can, and the line to `drive.py`.

The real simulator and this one speak the same protocol, so what drives here drives there.
"""

import base64
import contextlib
import json
import math
import socket
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import websocket
from track import Camera

WHEELBASE = 2.5
HALF_CAR = 0.9
FULL_LOCK = math.radians(25)  # a steering angle of 1: the wheels' angle then
TICK = 0.1  # seconds between two pictures
MILES_PER_HOUR = 2.23694  # for each metre per second
ASIDE = 0.8  # of the left and right cameras from the middle


@dataclass
class Car:
    x: float
    y: float
    heading: float
    speed: float = 0.0  # in metres per second

    @classmethod
    def on(cls, track, along=0.0):
        return cls(*track.at(along), track.heading_at(along))

    def move(self, steering, throttle):
        """One tick: the steering angle goes from -1, left, to 1, right; the throttle from -1 to 1."""
        wheels = FULL_LOCK * min(max(steering, -1), 1)
        self.speed = max(0.0, self.speed + (4 * min(max(throttle, -1), 1) - 0.2 * self.speed) * TICK)
        self.heading += self.speed / WHEELBASE * math.tan(wheels) * TICK
        self.x += self.speed * math.cos(self.heading) * TICK
        self.y += self.speed * math.sin(self.heading) * TICK


class Progress:
    """How far a car has come along the track, and how far to the right of its centre line it is."""

    def __init__(self, track):
        self.track, self.distance, self.offset, self.along = track, 0.0, 0.0, None

    def update(self, car):
        along, self.offset = self.track.nearest(car.x, car.y)
        if self.along is not None:
            half = self.track.length / 2
            self.distance += (along - self.along + half) % self.track.length - half
        self.along = along


# ---- the driver who can


def expert_steering(track, car, ahead=6.0):
    """Pure pursuit: the steering angle of the circle that leads to the centre line some metres ahead."""
    along, _ = track.nearest(car.x, car.y)
    to_goal = track.at(along + ahead) - (car.x, car.y)
    right = to_goal @ (-math.sin(car.heading), math.cos(car.heading))
    return math.atan(2 * WHEELBASE * right / (to_goal @ to_goal)) / FULL_LOCK


def record(track, landscape, folder, *, laps, throttle=0.3, seed=1):
    """Drives, and writes what the course's simulator writes: IMG/*.jpg and driving_log.csv.

    The driver's hand shakes on purpose: the car wanders about the road, and the log says how to steer back.
    """
    rng = np.random.default_rng(seed)
    cameras = {
        "left": Camera(landscape, -ASIDE),
        "center": Camera(landscape),
        "right": Camera(landscape, ASIDE),
    }
    (folder / "IMG").mkdir(parents=True, exist_ok=True)
    car, progress, log, wander = Car.on(track), Progress(track), [], 0.0
    car.speed = 20 * throttle  # and keeps it: see Car.move
    while progress.distance < laps * track.length:
        row = {}
        for name, camera in cameras.items():
            path = folder / "IMG" / f"{name}_{len(log):05}.jpg"
            path.write_bytes(as_jpeg(camera.look(car.x, car.y, car.heading)))
            row[name] = str(path.relative_to(folder))
        steering = float(np.clip(expert_steering(track, car), -1, 1))
        log.append(
            row
            | {"steering": steering, "throttle": throttle, "brake": 0.0, "speed": car.speed * MILES_PER_HOUR}
        )
        wander = 0.9 * wander + rng.normal(0, 0.12)
        car.move(steering + wander, throttle)
        progress.update(car)
    table = pd.DataFrame(log)
    table.to_csv(folder / "driving_log.csv", index=False)
    return table


def as_jpeg(image):
    return cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 85])[1].tobytes()


# ---- the line to drive.py


@contextlib.contextmanager
def autopilot(model, log=Path("output/drive.log"), patience=120):
    """Runs `drive.py MODEL` as a program of its own, and gives the port it listens on."""
    with socket.socket() as probe:  # any free one: the usual 4567 may be another desk's
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with log.open("w") as said:
        process = subprocess.Popen(
            [sys.executable, "drive.py", str(model), "--port", str(port)],
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        until = time.monotonic() + patience
        while not answers(port):
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"drive.py does not listen on port {port}:\n{log.read_text()}")
            time.sleep(0.2)
        yield port
    finally:
        process.terminate()
        process.wait()


def answers(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Line:
    """The simulator's end of the protocol: Engine.IO 3 over a websocket.

    Each message starts with a digit: 0 the server's greeting, 2 our ping and 3 its pong, 42 an event.
    """

    PING_EVERY = 10  # seconds

    def __init__(self, port):
        self.socket = websocket.create_connection(
            f"ws://127.0.0.1:{port}/socket.io/?EIO=4&transport=websocket", timeout=60
        )
        self.pinged = time.monotonic()
        self.ask({})  # whatever the server says first is out of the way when it answers this

    def ask(self, telemetry):
        """Sends what the car sees and feels; gives the answer, or None if a person is to drive."""
        if time.monotonic() - self.pinged > self.PING_EVERY:
            self.socket.send("2")
            self.pinged = time.monotonic()
        self.socket.send("42" + json.dumps(["telemetry", telemetry]))
        expected = "steer" if telemetry else "manual"
        while True:
            message = self.socket.recv()
            if message.startswith("42"):
                event, *answer = json.loads(message[2:])
                if event == expected:
                    return answer[0] if telemetry else None

    def close(self):
        self.socket.close()


@dataclass
class Moment:
    """What was seen and done at one tick of a drive."""

    image: np.ndarray
    x: float
    y: float
    offset: float  # to the right of the centre line
    distance: float  # along the track since the start
    steering: float
    throttle: float
    speed: float  # miles per hour


def drive(track, landscape, port, patience=1500):
    """Lets the program on `port` drive one lap; gives the moments one by one, and ends early off the road."""
    car, camera, progress = Car.on(track), Camera(landscape), Progress(track)
    with contextlib.closing(Line(port)) as line:
        steering = throttle = 0.0
        for _ in range(patience):
            progress.update(car)
            image, speed = camera.look(car.x, car.y, car.heading), car.speed * MILES_PER_HOUR
            answer = line.ask(
                {
                    "steering_angle": f"{steering * math.degrees(FULL_LOCK):.4f}",
                    "throttle": f"{throttle:.4f}",
                    "speed": f"{speed:.4f}",
                    "image": base64.b64encode(as_jpeg(image)).decode(),
                }
            )
            steering, throttle = float(answer["steering_angle"]), float(answer["throttle"])
            yield Moment(image, car.x, car.y, progress.offset, progress.distance, steering, throttle, speed)
            if progress.distance >= track.length or abs(progress.offset) > 6:
                return
            car.move(steering, throttle)
