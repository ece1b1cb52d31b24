import csv

import cv2
import numpy as np
from keras.layers.convolutional import Convolution2D, Cropping2D
from keras.layers.core import Dense, Flatten, Lambda
from keras.models import Sequential, load_model
from keras.optimizers import Adam
from scipy.misc import imread
from sklearn.cross_validation import train_test_split
from sklearn.utils import shuffle

np.random.seed(1)

with open("driving_log.csv", "w") as log:
    for number in range(128):
        angle = np.random.uniform(-1, 1)
        road = np.full((160, 320, 3), 60, dtype=np.uint8)
        cv2.line(road, (160 + np.int(100 * angle), 70), (160, 160), (255, 255, 255), 12)
        cv2.imwrite("center_%d.jpg" % number, road)
        log.write("center_%d.jpg,%f\n" % (number, angle))

with open("driving_log.csv") as csvfile:
    samples = list(csv.reader(csvfile))
train_samples, validation_samples = train_test_split(samples, test_size=0.25)


def generator(samples, batch_size=32):
    while True:
        samples = shuffle(samples)
        for offset in range(0, len(samples), batch_size):
            images, angles = [], []
            for name, angle in samples[offset:offset + batch_size]:
                images += [imread(name), np.fliplr(imread(name))]
                angles += [float(angle), -float(angle)]
            yield np.array(images), np.array(angles)


train, valid = generator(train_samples), generator(validation_samples)

model = Sequential()
model.add(Lambda(lambda x: x / 127.5 - 1.0, input_shape=(160, 320, 3)))
model.add(Cropping2D(cropping=((60, 20), (0, 0))))
model.add(Convolution2D(8, 5, 5, subsample=(4, 4), activation="relu"))
model.add(Flatten())
model.add(Dense(1))
model.compile(loss="mse", optimizer=Adam(lr=0.001))
history = model.fit_generator(train, samples_per_epoch=96, validation_data=valid, nb_val_samples=32, nb_epoch=6)
model.save("model.h5")

model = load_model("model.h5")
road = imread("center_0.jpg")
steering_angle = float(model.predict(road[None, :, :, :], batch_size=1))
assert history.history["val_loss"][-1] < 0.1, history.history
assert abs(steering_angle - float(samples[0][1])) < 0.6, (steering_angle, samples[0])
