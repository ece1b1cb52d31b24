"""Weather: what it does to light, sky and sight."""

from dataclasses import dataclass

Colour = tuple[float, float, float]


@dataclass(frozen=True)
class Weather:
    light: Colour = (1.02, 1.0, 0.95)
    zenith: Colour = (0.22, 0.44, 0.76)
    horizon: Colour = (0.80, 0.88, 0.94)
    clouds: float = 0.4  # cloud cover, from 0 to 1
    shadow: float = 0.5  # how much of the light a shadow takes
    haze: float = 700.0  # metres after which two thirds of a thing's colour are the horizon's
    grain: float = 3.0  # deviation of the sensor's noise, of 255


SUNNY = Weather()
OVERCAST = Weather((0.86, 0.90, 0.95), (0.62, 0.68, 0.74), (0.80, 0.83, 0.86), 0.9, 0.08, 350.0, 4.0)
EVENING = Weather((0.98, 0.80, 0.62), (0.24, 0.33, 0.58), (0.98, 0.76, 0.52), 0.5, 0.62, 450.0, 5.0)
