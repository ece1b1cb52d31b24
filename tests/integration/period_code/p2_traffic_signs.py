import pickle

import cv2
import numpy as np
import tensorflow as tf
from sklearn.cross_validation import train_test_split
from sklearn.utils import shuffle
from tensorflow.contrib.layers import flatten

np.random.seed(1)


def draw_sign(kind):
    sign = np.random.randint(60, 120, (32, 32, 3)).astype(np.uint8)
    x, y = np.random.randint(13, 19, 2)
    if kind == 0:
        cv2.circle(sign, (int(x), int(y)), 9, (230, 20, 20), 3)
    elif kind == 1:
        cv2.rectangle(sign, (int(x) - 8, int(y) - 8), (int(x) + 8, int(y) + 8), (20, 20, 230), -1)
    else:
        cv2.line(sign, (int(x) - 9, int(y) - 9), (int(x) + 9, int(y) + 9), (240, 240, 240), 4)
    return sign


labels = np.arange(600) % 3
with open("train.p", mode="wb") as f:
    pickle.dump({"features": np.array([draw_sign(kind) for kind in labels]), "labels": labels}, f)

with open("train.p", mode="rb") as f:
    train = pickle.load(f)
X_train, X_valid, y_train, y_valid = train_test_split(train["features"] / 255 - 0.5, train["labels"], test_size=0.2)


def layer(shape):
    return tf.Variable(tf.truncated_normal(shape=shape, mean=0, stddev=0.1)), tf.Variable(tf.zeros(shape[-1]))


def convolve_and_pool(x, shape):
    W, b = layer(shape)
    x = tf.nn.relu(tf.nn.conv2d(x, W, strides=[1, 1, 1, 1], padding="VALID") + b)
    return tf.nn.max_pool(x, ksize=[1, 2, 2, 1], strides=[1, 2, 2, 1], padding="VALID")


def LeNet(x):
    x = convolve_and_pool(x, (5, 5, 3, 6))
    x = convolve_and_pool(x, (5, 5, 6, 16))
    x = flatten(x)
    W, b = layer((400, 120))
    x = tf.nn.dropout(tf.nn.relu(tf.matmul(x, W) + b), keep_prob)
    W, b = layer((120, 3))
    return tf.matmul(x, W) + b


x = tf.placeholder(tf.float32, (None, 32, 32, 3))
y = tf.placeholder(tf.int32, (None))
keep_prob = tf.placeholder(tf.float32)
logits = LeNet(x)
cross_entropy = tf.nn.softmax_cross_entropy_with_logits(labels=tf.one_hot(y, 3), logits=logits)
training_operation = tf.train.AdamOptimizer(learning_rate=0.001).minimize(tf.reduce_mean(cross_entropy))
correct = tf.equal(tf.argmax(logits, 1), tf.argmax(tf.one_hot(y, 3), 1))
accuracy_operation = tf.reduce_mean(tf.cast(correct, tf.float32))
saver = tf.train.Saver()

with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for epoch in range(8):
        X_train, y_train = shuffle(X_train, y_train)
        for offset in range(0, len(X_train), 32):
            batch = {x: X_train[offset:offset + 32], y: y_train[offset:offset + 32], keep_prob: 0.7}
            sess.run(training_operation, feed_dict=batch)
    saver.save(sess, "./lenet")

with tf.Session() as sess:
    saver.restore(sess, tf.train.latest_checkpoint("."))
    accuracy = sess.run(accuracy_operation, feed_dict={x: X_valid, y: y_valid, keep_prob: 1.0})
assert accuracy > 0.9, accuracy
