import matplotlib

matplotlib.use("Agg")
import cv2
import matplotlib.image as mpimg
import matplotlib.pyplot as plt
import numpy as np
from IPython.display import HTML
from moviepy.editor import ImageSequenceClip, VideoFileClip


def draw_road(shift):
    road = np.full((180, 320, 3), 90, dtype=np.uint8)
    cv2.line(road, (40 + shift, 180), (140, 100), (255, 255, 255), 5)
    cv2.line(road, (280 + shift, 180), (180, 100), (255, 255, 0), 5)
    return road


slopes = []


def mark_lanes(image):
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    edges = cv2.Canny(cv2.GaussianBlur(gray, (5, 5), 0), 50, 150)
    mask = np.zeros_like(edges)
    cv2.fillPoly(mask, np.array([[(0, 180), (120, 95), (200, 95), (320, 180)]], dtype=np.int32), 255)
    lines = cv2.HoughLinesP(cv2.bitwise_and(edges, mask), 1, np.pi / 180, 15, np.array([]), minLineLength=20, maxLineGap=60)
    overlay = np.zeros_like(image)
    for line in lines:
        for x1, y1, x2, y2 in line:
            slopes.append((y2 - y1) / (x2 - x1))
            cv2.line(overlay, (x1, y1), (x2, y2), [255, 0, 0], 4)
    return cv2.addWeighted(image, 0.8, overlay, 1.0, 0.0)


mpimg.imsave("road.png", draw_road(0))
marked = mark_lanes(draw_road(0))
plt.imshow(marked)
plt.savefig("marked.png")

ImageSequenceClip([draw_road(n) for n in range(-15, 15)], fps=15).write_videofile("road.mp4", audio=False, logger=None)
clip = VideoFileClip("road.mp4").subclip(0, 1)
white = clip.fl_image(mark_lanes)
white.write_videofile("white.mp4", audio=False, logger=None)
HTML('<video width="320" controls><source src="{0}"></video>'.format("white.mp4"))

small = VideoFileClip("white.mp4").resize(0.5)
left = [slope for slope in slopes if slope < 0]
right = [slope for slope in slopes if slope > 0]
assert tuple(small.size) == (160, 90) and small.duration == 1.0, (small.size, small.duration)
assert abs(np.median(left) + 0.8) < 0.2 and abs(np.median(right) - 0.8) < 0.2
