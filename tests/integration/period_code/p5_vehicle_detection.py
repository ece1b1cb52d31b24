import cv2
import numpy as np
from scipy.ndimage.measurements import label
from skimage.feature import hog
from sklearn.cross_validation import train_test_split
from sklearn.externals import joblib
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

np.random.seed(1)


def draw_patch(is_car):
    patch = np.random.randint(90, 130, (64, 64)).astype(np.uint8)
    if is_car:
        x, y = [int(n) for n in np.random.randint(-4, 5, 2)]
        cv2.rectangle(patch, (10 + x, 20 + y), (54 + x, 48 + y), 30, -1)
        cv2.circle(patch, (20 + x, 50 + y), 6, 220, -1)
        cv2.circle(patch, (44 + x, 50 + y), 6, 220, -1)
    else:
        cv2.line(patch, (int(np.random.randint(64)), 0), (int(np.random.randint(64)), 63), 220, 3)
    return patch


def features_of(patch):
    features, picture = hog(patch, orientations=9, pixels_per_cell=(8, 8), cells_per_block=(2, 2), visualise=True, feature_vector=True)
    return features


labels = np.hstack((np.ones(60), np.zeros(60)))
X = np.vstack([features_of(draw_patch(is_car)) for is_car in labels]).astype(np.float64)
X_scaler = StandardScaler().fit(X)
X_train, X_test, y_train, y_test = train_test_split(X_scaler.transform(X), labels, test_size=0.2, random_state=3)
svc = LinearSVC()
svc.fit(X_train, y_train)
assert svc.score(X_test, y_test) > 0.9
joblib.dump((svc, X_scaler), "svc.pkl")
svc, X_scaler = joblib.load("svc.pkl")

road = np.random.randint(90, 130, (128, 256)).astype(np.uint8)
road[32:96, 128:192] = draw_patch(True)
heat = np.zeros_like(road).astype(np.float)
nx_windows = np.int((256 - 64) / 16) + 1
for row in range(np.int((128 - 64) / 16) + 1):
    for column in range(nx_windows):
        top, left = 16 * row, 16 * column
        window = X_scaler.transform(features_of(road[top:top + 64, left:left + 64]).reshape(1, -1))
        if svc.predict(window) == 1:
            heat[top:top + 64, left:left + 64] += 1
heat[heat <= heat.max() / 2] = 0
boxes, count = label(heat)
nonzeroy, nonzerox = (boxes == 1).nonzero()
assert count == 1, count
assert abs(np.mean(nonzerox) - 160) < 16 and abs(np.mean(nonzeroy) - 64) < 16
