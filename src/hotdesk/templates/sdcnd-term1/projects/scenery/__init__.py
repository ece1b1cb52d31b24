"""A motorway that is drawn, not filmed: pictures for the projects, with the truth about each of them.

`Road` lies on flat ground and bends as you say; `Camera` sits in the car; `paint` draws what it sees.
Lengths are metres, angles radians, pictures are RGB as matplotlib and moviepy want them.
"""

from .camera import Camera
from .cars import Car
from .gallery import keep
from .paint import paint
from .road import LANE, Road, View
from .weather import EVENING, OVERCAST, SUNNY, Weather

__all__ = [
    "EVENING",
    "LANE",
    "OVERCAST",
    "SUNNY",
    "Camera",
    "Car",
    "Road",
    "View",
    "Weather",
    "keep",
    "paint",
]
