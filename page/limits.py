"""What one visitor may upload. The page says these limits before they are reached."""

MOST_TRAIN, MOST_TEST = 1000, 500  # pictures
LEAST_TRAIN = 3
MOST_FILE = 200 * 2**20  # bytes of an uploaded file; .streamlit/config.toml has it, too
MOST_PICTURE = 64 * 2**20  # bytes of a picture file
MOST_TOTAL = 512 * 2**20  # bytes of all pictures of one upload, unpacked
MOST_PIXELS = 25_000_000  # of a picture
MOST_ENTRIES = 10_000  # of an archive
MOST_MASKED = 12_000_000  # pixels of all anomaly maps whose masks are compared: 240 of 224 x 224
