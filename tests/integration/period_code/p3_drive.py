import base64
import sys
from io import BytesIO

import eventlet
import eventlet.wsgi
import h5py
import numpy as np
import socketio
from flask import Flask
from keras import __version__ as keras_version
from keras.models import load_model
from PIL import Image

sio = socketio.Server()
app = Flask(__name__)
model = None


@sio.on('telemetry')
def telemetry(sid, data):
    if data:
        image = Image.open(BytesIO(base64.b64decode(data["image"])))
        image_array = np.asarray(image)
        steering_angle = float(model.predict(image_array[None, :, :, :], batch_size=1))
        send_control(steering_angle, 0.1 * (9 - float(data["speed"])))
    else:
        sio.emit('manual', data={}, skip_sid=True)


@sio.on('connect')
def connect(sid, environ):
    print("connect ", sid)
    send_control(0, 0)


def send_control(steering_angle, throttle):
    sio.emit(
        "steer",
        data={'steering_angle': steering_angle.__str__(), 'throttle': throttle.__str__()},
        skip_sid=True)


if __name__ == '__main__':
    f = h5py.File(sys.argv[1], mode='r')
    model_version = str(f.attrs.get('keras_version')).encode('utf8')
    if model_version != str(keras_version).encode('utf8'):
        print('You are using Keras version ', keras_version, ', but the model was built using ', model_version)
    model = load_model(sys.argv[1])
    app = socketio.Middleware(sio, app)
    eventlet.wsgi.server(eventlet.listen(('', int(sys.argv[2]))), app)
