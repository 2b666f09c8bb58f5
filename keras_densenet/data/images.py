"""Image files as arrays."""

import numpy as np


def read_images(paths, shape):
    """Decodes image files for a network.

    Args:
        paths: files of any format that Pillow reads.
        shape: `(height, width, channels)` that the network expects; images are resized (bilinear) and turned into
            grey (1 channel), RGB (3) or RGBA (4). Sizes may be None if all images are of one size.

    Returns:
        float32 `(images, height, width, channels)` in 0..255.

    Raises:
        FileNotFoundError: if a file is not there.
        ValueError: for a file that cannot be decoded, or another number of channels.
    """
    from PIL import Image, ImageOps, UnidentifiedImageError

    height, width, channels = shape
    modes = {1: "L", 3: "RGB", 4: "RGBA"}
    if channels not in modes:
        raise ValueError(f"Image files can be read for 1, 3 or 4 channels. Received: a network with {channels}")
    found = []
    for path in paths:
        try:
            with Image.open(path) as file:
                image = ImageOps.exif_transpose(file).convert(modes[channels])
        except FileNotFoundError:
            raise FileNotFoundError(f"There is no image {str(path)!r}") from None
        except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{str(path)!r} cannot be decoded as an image: {error}") from None
        image = image.resize((width or image.width, height or image.height), Image.Resampling.BILINEAR)
        found.append(np.asarray(image, "float32").reshape(image.height, image.width, channels))
    if len({image.shape for image in found}) > 1:
        raise ValueError("The network takes any size, but all images of one call must be of the same")
    return np.stack(found)
