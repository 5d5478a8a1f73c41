"""mergan: teach one conditional GAN new image classes task after task, and measure what it forgets."""

import sys

__version__ = "0.3.0"

if sys.argv[:1] == ["-m"] and not sys.flags.safe_path:
    # `python -m mergan.sample` is being started, and Python has put the working directory in front of all
    # that can be imported. It may be a folder from somebody else: what lies there is data, not code.
    del sys.path[0]
