"""Pictures for the tests of decoding, and the three functions that read them."""

import io

import numpy as np
import pytest
from PIL import Image

from datasets.transforms import BadPictureError, picture_size, read_mask, read_picture

NOISE = np.random.default_rng(0).integers(0, 256, (24, 40, 3), dtype=np.uint8)
READERS = pytest.mark.parametrize("reader", [read_picture, read_mask, picture_size])


def saved(path, array=NOISE, **settings):
    Image.fromarray(array).save(path, **settings)
    return path


def content(kind, array=NOISE, **settings) -> bytes:
    file = io.BytesIO()
    Image.fromarray(array).save(file, kind, **settings)
    return file.getvalue()


def refused(function, *arguments) -> str:
    with pytest.raises(BadPictureError) as error:
        function(*arguments)
    return str(error.value)
