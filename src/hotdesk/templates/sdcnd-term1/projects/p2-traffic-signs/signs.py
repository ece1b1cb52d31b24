"""Forty-three traffic signs, drawn with a few lines each.

`draw_sign(number)` gives a sign as a designer would: clean, and with transparent corners.
"""

import math
from functools import cache

import matplotlib.font_manager
import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIDE = 128  # of a drawn sign, in pixels
FINER = 4  # signs are drawn this much larger, then reduced: that smooths their edges

RED, BLUE, YELLOW, GREEN = (200, 20, 35), (20, 80, 170), (250, 200, 30), (30, 150, 70)
WHITE, BLACK, GREY = (245, 245, 245), (20, 20, 20), (150, 150, 150)


class Board:
    """A square to draw on: x goes right and y goes down, both from -1 to 1."""

    def __init__(self):
        self.image = Image.new("RGBA", (SIDE * FINER, SIDE * FINER))
        self.pen = ImageDraw.Draw(self.image)

    def pixels(self, length):
        return length * SIDE * FINER / 2

    def at(self, points):
        return [(self.pixels(x + 1), self.pixels(y + 1)) for x, y in points]

    def polygon(self, points, colour):
        self.pen.polygon(self.at(points), fill=colour)

    def disc(self, x, y, radius, colour):
        self.pen.ellipse(self.at([(x - radius, y - radius), (x + radius, y + radius)]), fill=colour)

    def ring(self, x, y, radius, width, colour):
        box = self.at([(x - radius, y - radius), (x + radius, y + radius)])
        self.pen.ellipse(box, outline=colour, width=round(self.pixels(width)))

    def line(self, points, width, colour):
        self.pen.line(self.at(points), fill=colour, width=round(self.pixels(width)), joint="curve")
        for x, y in (points[0], points[-1]):
            self.disc(x, y, width / 2, colour)

    def arrow(self, points, width, colour):
        """A line with a head, which points where the last piece of the line goes."""
        (x0, y0), (x1, y1) = points[-2:]
        length = math.hypot(x1 - x0, y1 - y0)
        dx, dy = (x1 - x0) / length * width, (y1 - y0) / length * width
        self.line(points, width, colour)
        self.polygon(
            [(x1 + 1.5 * dx, y1 + 1.5 * dy), (x1 - dy * 1.4, y1 + dx * 1.4), (x1 + dy * 1.4, y1 - dx * 1.4)],
            colour,
        )

    def text(self, words, height, colour):
        bold = matplotlib.font_manager.FontProperties(family="DejaVu Sans", weight="bold")
        font = ImageFont.truetype(matplotlib.font_manager.findfont(bold), self.pixels(height))
        self.pen.text(self.at([(0, 0)])[0], words, fill=colour, font=font, anchor="mm")


# ---- plates: what tells a driver from afar what kind of sign it is


def regular_polygon(corners, radius, turned):
    angles = [math.radians(turned + 360 * corner / corners) for corner in range(corners)]
    return [(radius * math.sin(angle), -radius * math.cos(angle)) for angle in angles]


def prohibition(board):
    board.disc(0, 0, 0.96, RED)
    board.disc(0, 0, 0.70, WHITE)


def order(board):
    board.disc(0, 0, 0.96, WHITE)
    board.disc(0, 0, 0.91, BLUE)


def warning(board):
    board.polygon([(0, -0.92), (0.99, 0.80), (-0.99, 0.80)], RED)
    board.polygon([(0, -0.55), (0.68, 0.64), (-0.68, 0.64)], WHITE)


def end_of(board):
    """The stripes that say that a rule ends here. They are drawn over what ends."""
    for shift in (-0.20, -0.07, 0.07, 0.20):
        board.line([(-0.56 + shift, 0.56 + shift), (0.56 + shift, -0.56 + shift)], 0.05, BLACK)


# ---- symbols: around (x, y), about twice `size` wide


def car(board, x, y, size, colour):
    board.polygon(
        [(x + size * a, y + size * b) for a, b in ((-1, 0.2), (-0.6, -0.6), (0.6, -0.6), (1, 0.2))], colour
    )
    board.polygon([(x + size * a, y + size * b) for a, b in ((-1, 0), (1, 0), (1, 0.6), (-1, 0.6))], colour)
    for side in (-0.7, 0.7):
        board.disc(x + side * size, y + 0.6 * size, 0.32 * size, colour)


def lorry(board, x, y, size, colour):
    board.polygon(
        [(x + size * a, y + size * b) for a, b in ((-1, -0.8), (0.35, -0.8), (0.35, 0.5), (-1, 0.5))], colour
    )
    board.polygon(
        [
            (x + size * a, y + size * b)
            for a, b in ((0.45, -0.4), (0.85, -0.4), (1.1, 0.1), (1.1, 0.5), (0.45, 0.5))
        ],
        colour,
    )
    for wheel in (-0.6, 0.7):
        board.disc(x + wheel * size, y + 0.6 * size, 0.28 * size, colour)


def walker(board, x, y, size):
    """Somebody who walks to the right; `y` is the hip."""
    board.disc(x, y - 0.85 * size, 0.2 * size, BLACK)
    for limb in (
        [(0, -0.55), (0, 0)],
        [(0, 0), (0.35, 0.45), (0.3, 0.8)],
        [(0, 0), (-0.2, 0.45), (-0.5, 0.8)],
        [(0, -0.5), (0.4, -0.15)],
        [(0, -0.5), (-0.35, -0.1)],
    ):
        board.line([(x + size * a, y + size * b) for a, b in limb], 0.17 * size, BLACK)


# ---- the signs


def speed_limit(board, limit):
    prohibition(board)
    board.text(limit, 0.92 if len(limit) == 2 else 0.66, BLACK)


def end_of_speed_limit(board):
    board.disc(0, 0, 0.96, GREY)
    board.disc(0, 0, 0.90, WHITE)
    board.text("80", 0.92, GREY)
    end_of(board)


def no_passing(board, passing, colours):
    passing(board, -0.31, 0.0, 0.29, colours[0])
    car(board, 0.36, 0.04, 0.24, colours[1])


def right_of_way(board):
    warning(board)
    board.line([(-0.32, 0.22), (0.32, 0.22)], 0.12, BLACK)
    board.arrow([(0, 0.52), (0, -0.10)], 0.16, BLACK)


def priority_road(board):
    board.polygon(regular_polygon(4, 0.98, 0), WHITE)
    board.polygon(regular_polygon(4, 0.90, 0), BLACK)
    board.polygon(regular_polygon(4, 0.86, 0), WHITE)
    board.polygon(regular_polygon(4, 0.62, 0), YELLOW)


def yield_way(board):
    board.polygon([(0, 0.92), (0.99, -0.80), (-0.99, -0.80)], RED)
    board.polygon([(0, 0.52), (0.66, -0.62), (-0.66, -0.62)], WHITE)


def stop(board):
    board.polygon(regular_polygon(8, 1.0, 22.5), WHITE)
    board.polygon(regular_polygon(8, 0.95, 22.5), RED)
    board.text("STOP", 0.60, WHITE)


def no_lorries(board):
    prohibition(board)
    lorry(board, 0, 0, 0.42, BLACK)


def no_entry(board):
    board.disc(0, 0, 0.96, RED)
    board.polygon([(-0.70, -0.17), (0.70, -0.17), (0.70, 0.17), (-0.70, 0.17)], WHITE)


def danger(board):
    warning(board)
    board.polygon([(-0.11, -0.28), (0.11, -0.28), (0.06, 0.28), (-0.06, 0.28)], BLACK)
    board.disc(0, 0.46, 0.11, BLACK)


def curve(board, side):
    warning(board)
    board.arrow([(0.16 * side, 0.52), (0.16 * side, 0.24), (-0.10 * side, -0.02)], 0.15, BLACK)


def double_curve(board):
    warning(board)
    board.arrow([(0.14, 0.54), (0.14, 0.34), (-0.14, 0.16), (-0.14, 0.04), (0.02, -0.12)], 0.13, BLACK)


def bumpy_road(board):
    warning(board)
    board.polygon([(-0.55, 0.54), (-0.55, 0.40), (0.55, 0.40), (0.55, 0.54)], BLACK)
    for x in (-0.24, 0.24):
        board.disc(x, 0.38, 0.19, BLACK)


def slippery_road(board):
    warning(board)
    car(board, 0.02, -0.02, 0.22, BLACK)
    for x in (-0.20, 0.16):
        board.line([(x, 0.24), (x + 0.12, 0.34), (x - 0.06, 0.44), (x + 0.04, 0.55)], 0.08, BLACK)


def road_narrows(board):
    warning(board)
    board.line([(-0.24, 0.54), (-0.24, -0.02)], 0.13, BLACK)
    board.line([(0.36, 0.54), (0.36, 0.36), (0.10, 0.18), (0.10, -0.12)], 0.13, BLACK)


def road_work(board):
    warning(board)
    board.disc(0.00, -0.16, 0.10, BLACK)
    board.line([(-0.04, 0.0), (-0.20, 0.26)], 0.16, BLACK)
    board.line([(-0.20, 0.26), (-0.06, 0.40), (-0.10, 0.56)], 0.10, BLACK)
    board.line([(-0.20, 0.26), (-0.34, 0.56)], 0.10, BLACK)
    board.line([(-0.04, 0.02), (0.14, 0.20)], 0.09, BLACK)
    board.line([(-0.02, 0.14), (0.26, 0.44)], 0.06, BLACK)
    board.polygon([(0.10, 0.60), (0.34, 0.32), (0.56, 0.60)], BLACK)


def traffic_signals(board):
    warning(board)
    board.polygon([(-0.16, -0.30), (0.16, -0.30), (0.16, 0.60), (-0.16, 0.60)], BLACK)
    for y, colour in ((-0.15, RED), (0.14, YELLOW), (0.44, GREEN)):
        board.disc(0, y, 0.13, colour)


def pedestrians(board):
    warning(board)
    walker(board, 0.0, 0.16, 0.42)
    for x in (-0.46, -0.26, 0.26, 0.46):
        board.line([(x, 0.60), (x * 0.9, 0.48)], 0.08, BLACK)


def children(board):
    warning(board)
    walker(board, -0.20, 0.24, 0.36)
    walker(board, 0.22, 0.30, 0.32)


def bicycles(board):
    warning(board)
    for x in (-0.28, 0.28):
        board.ring(x, 0.38, 0.22, 0.07, BLACK)
    board.line([(-0.28, 0.38), (-0.10, 0.10), (0.18, 0.10), (0.0, 0.38), (-0.28, 0.38)], 0.07, BLACK)
    board.line([(0.28, 0.38), (0.14, -0.04), (0.26, -0.06)], 0.07, BLACK)
    board.line([(-0.20, 0.04), (-0.04, 0.04)], 0.08, BLACK)


def ice(board):
    warning(board)
    for angle in range(0, 180, 60):
        dx, dy = math.sin(math.radians(angle)), math.cos(math.radians(angle))
        board.line([(-0.36 * dx, 0.22 - 0.36 * dy), (0.36 * dx, 0.22 + 0.36 * dy)], 0.07, BLACK)
        for end in (-0.25, 0.25):
            board.line(
                [
                    (end * dx - 0.1 * dy, 0.22 + end * dy + 0.1 * dx),
                    (end * dx + 0.1 * dy, 0.22 + end * dy - 0.1 * dx),
                ],
                0.05,
                BLACK,
            )


def wild_animals(board):
    warning(board)
    board.polygon([(-0.36, 0.18), (0.14, 0.04), (0.22, 0.20), (-0.30, 0.36)], BLACK)
    board.line([(0.16, 0.12), (0.26, -0.14), (0.38, -0.10)], 0.11, BLACK)
    for antler in ([(0.24, -0.16), (0.12, -0.32)], [(0.26, -0.18), (0.30, -0.34)]):
        board.line(antler, 0.05, BLACK)
    for leg in ([(-0.30, 0.28), (-0.44, 0.56)], [(-0.24, 0.30), (-0.20, 0.56)]):
        board.line(leg, 0.08, BLACK)
    for leg in ([(0.14, 0.18), (0.32, 0.36), (0.22, 0.46)], [(0.10, 0.20), (0.20, 0.52)]):
        board.line(leg, 0.08, BLACK)


def end_of_all(board):
    board.disc(0, 0, 0.96, GREY)
    board.disc(0, 0, 0.90, WHITE)
    end_of(board)


def end_of_no_passing(board, passing):
    board.disc(0, 0, 0.96, GREY)
    board.disc(0, 0, 0.90, WHITE)
    no_passing(board, passing, (GREY, GREY))
    end_of(board)


def follow(board, *arrows):
    order(board)
    for arrow in arrows:
        board.arrow(arrow, 0.22, WHITE)


def forbid_passing(board, passing):
    prohibition(board)
    no_passing(board, passing, (RED, BLACK))


def roundabout(board):
    order(board)
    for start in (0, 120, 240):
        angles = [math.radians(start + turn) for turn in range(0, 81, 10)]
        board.arrow([(0.52 * math.sin(angle), 0.52 * math.cos(angle)) for angle in angles], 0.17, WHITE)


UP = [(0, 0.55), (0, -0.40)]
RIGHT = [(-0.28, 0.55), (-0.28, 0.02), (0.32, 0.02)]
LEFT = [(-x, y) for x, y in RIGHT]

# The numbers are those of the German Traffic Sign Recognition Benchmark, which the course uses.
SIGNS = (
    ("Speed limit 20", lambda board: speed_limit(board, "20")),
    ("Speed limit 30", lambda board: speed_limit(board, "30")),
    ("Speed limit 50", lambda board: speed_limit(board, "50")),
    ("Speed limit 60", lambda board: speed_limit(board, "60")),
    ("Speed limit 70", lambda board: speed_limit(board, "70")),
    ("Speed limit 80", lambda board: speed_limit(board, "80")),
    ("End of limit 80", end_of_speed_limit),
    ("Speed limit 100", lambda board: speed_limit(board, "100")),
    ("Speed limit 120", lambda board: speed_limit(board, "120")),
    ("No passing", lambda board: forbid_passing(board, car)),
    ("No passing for lorries", lambda board: forbid_passing(board, lorry)),
    ("Right of way", right_of_way),
    ("Priority road", priority_road),
    ("Yield", yield_way),
    ("Stop", stop),
    ("No vehicles", prohibition),
    ("No lorries", no_lorries),
    ("No entry", no_entry),
    ("Danger", danger),
    ("Curve to the left", lambda board: curve(board, 1)),
    ("Curve to the right", lambda board: curve(board, -1)),
    ("Double curve", double_curve),
    ("Bumpy road", bumpy_road),
    ("Slippery road", slippery_road),
    ("Road narrows", road_narrows),
    ("Road work", road_work),
    ("Traffic signals", traffic_signals),
    ("Pedestrians", pedestrians),
    ("Children", children),
    ("Bicycles", bicycles),
    ("Ice", ice),
    ("Wild animals", wild_animals),
    ("End of all limits", end_of_all),
    ("Turn right", lambda board: follow(board, RIGHT)),
    ("Turn left", lambda board: follow(board, LEFT)),
    ("Ahead only", lambda board: follow(board, UP)),
    ("Ahead or right", lambda board: follow(board, UP, [(0, 0.45), (0, 0.20), (0.42, 0.20)])),
    ("Ahead or left", lambda board: follow(board, UP, [(0, 0.45), (0, 0.20), (-0.42, 0.20)])),
    ("Keep right", lambda board: follow(board, [(-0.45, -0.45), (0.28, 0.28)])),
    ("Keep left", lambda board: follow(board, [(0.45, -0.45), (-0.28, 0.28)])),
    ("Roundabout", roundabout),
    ("End of no passing", lambda board: end_of_no_passing(board, car)),
    ("End of no passing, lorries", lambda board: end_of_no_passing(board, lorry)),
)
NAMES = [name for name, _ in SIGNS]


@cache
def draw_sign(number):
    """The sign as an array of SIDE x SIDE x 4: red, green, blue and how much it covers, from 0 to 255."""
    board = Board()
    SIGNS[number][1](board)
    return np.asarray(board.image.resize((SIDE, SIDE), Image.Resampling.BOX))
