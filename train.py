"""What `python train.py strategy=joint_retrain` runs; see mergan/train.py."""

from mergan.system.interpreter import run_and_leave
from mergan.train import main

if __name__ == "__main__":
    run_and_leave(main)
