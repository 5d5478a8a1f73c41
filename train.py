"""What `python train.py strategy=joint_retrain` runs; see mergan/train.py."""

import sys

from mergan.train import main

if __name__ == "__main__":
    sys.exit(main())
