"""Makes a film of the frames that drive.py kept: `python video.py run1` makes run1.mp4."""

import argparse
from pathlib import Path

from moviepy.editor import ImageSequenceClip


def main():
    say = argparse.ArgumentParser(description="Makes a film of the frames that drive.py kept.")
    say.add_argument("frames", type=Path, help="the folder of the frames")
    say.add_argument("--fps", type=int, default=60, help="frames per second (default: %(default)s)")
    asked = say.parse_args()
    frames = sorted(asked.frames.glob("*.jpg"))  # their names are times
    if not frames:
        say.error(f"there are no .jpg files in {asked.frames}")
    film = f"{asked.frames}.mp4"
    ImageSequenceClip([str(frame) for frame in frames], fps=asked.fps).write_videofile(film)


if __name__ == "__main__":
    main()
