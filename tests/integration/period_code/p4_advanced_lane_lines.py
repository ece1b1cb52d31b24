import matplotlib

matplotlib.use("Agg")
import cv2
import matplotlib.pyplot as plt
import numpy as np

camera = np.array([[700.0, 0, 320], [0, 700, 240], [0, 0, 1]])
board = np.full((80 * 8, 80 * 11), 255, dtype=np.uint8)
for row in range(7):
    for column in range(10):
        if (row + column) % 2 == 0:
            board[40 + 80 * row:120 + 80 * row, 40 + 80 * column:120 + 80 * column] = 0


def photograph(tilt, turn):
    rotation, _ = cv2.Rodrigues(np.array([tilt, turn, 0.05]))
    scale = np.array([[1 / 80, 0, -5.5], [0, 1 / 80, -4], [0, 0, 1]])
    pose = np.column_stack([rotation[:, 0], rotation[:, 1], [0, 0, 15]])
    return cv2.warpPerspective(board, camera.dot(pose).dot(scale), (640, 480), borderValue=200)


objp = np.zeros((6 * 9, 3), np.float32)
objp[:, :2] = np.mgrid[0:9, 0:6].T.reshape(-1, 2)
objpoints, imgpoints = [], []
for tilt, turn in [(0.0, 0.4), (0.4, 0.0), (-0.4, 0.2), (0.3, -0.4), (-0.3, -0.3)]:
    gray = photograph(tilt, turn)
    ret, corners = cv2.findChessboardCorners(gray, (9, 6), None)
    if ret == True:
        objpoints.append(objp)
        imgpoints.append(corners)
        cv2.drawChessboardCorners(gray, (9, 6), corners, ret)

error, mtx, dist, rvecs, tvecs = cv2.calibrateCamera(objpoints, imgpoints, gray.shape[::-1], None, None)
undistorted = cv2.undistort(gray, mtx, dist, None, mtx)
assert len(objpoints) == 5
assert error < 0.5 and abs(mtx[0, 0] - 700) < 35, (error, mtx)

src = np.float32([[200, 240], [440, 240], [640, 480], [0, 480]])
dst = np.float32([[100, 0], [540, 0], [540, 480], [100, 480]])
M = cv2.getPerspectiveTransform(src, dst)
warped = cv2.warpPerspective(undistorted, M, (640, 480), flags=cv2.INTER_LINEAR)

lane = np.zeros((480, 640), dtype=np.uint8)
ploty = np.linspace(0, 479, 480)
for y in ploty:
    lane[np.int(y), np.int(0.0004 * y ** 2 + 100) - 3:np.int(0.0004 * y ** 2 + 100) + 3] = 1
histogram = np.sum(lane[np.int(lane.shape[0] / 2):, :], axis=0)
nonzeroy, nonzerox = lane.nonzero()
left_fit = np.polyfit(nonzeroy, nonzerox, 2)
curverad = ((1 + (2 * left_fit[0] * 479 + left_fit[1]) ** 2) ** 1.5) / np.absolute(2 * left_fit[0])
expected = (1 + (2 * 0.0004 * 479) ** 2) ** 1.5 / (2 * 0.0004)
plt.plot(histogram)
plt.savefig("histogram.png")
assert abs(curverad / expected - 1) < 0.05, (curverad, expected)
