"""What the process is told to do less of."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest
import tiny
import torch

STEPS = """
import resource, sys
import torch
from mergan.system.cpu import keep_freed_memory
from mergan.networks.dcgan import Discriminator, Generator

torch.set_num_threads(1)
if sys.argv[1] == "keep":
    assert keep_freed_memory()
generator = Generator(8, 10, 1, 32, 16, "group", "class", 0)
discriminator = Discriminator(10, 1, 32, 16, True, False)
z, labels = torch.randn(32, 8), torch.arange(32) % 10

def step():
    discriminator(generator(z, labels), labels)[0].mean().backward()

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def of_twenty_steps():
    before = faults()
    for _ in range(20):
        step()
    return faults() - before

of_twenty_steps()
# the heap may still grow once, by the pages of one tensor; what every step faults in shows each time
print(min(of_twenty_steps() for _ in range(3)))
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="other C libraries have no such setting")
def test_training_steps_do_not_fault_their_memory_in_again() -> None:
    def page_faults(mode: str) -> int:
        command = [sys.executable, "-c", STEPS, mode]
        done = subprocess.run(command, cwd=tiny.ROOT, check=True, capture_output=True, text=True)
        return int(done.stdout)

    kept, left = page_faults("keep"), page_faults("leave")
    assert kept < 20 * 10  # a step takes and frees some megabytes, hundreds of pages
    assert kept < left / 4


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU to be found")
def test_optimizers_do_not_look_for_a_gpu_in_every_step() -> None:
    code = """
import sys
import lightning.pytorch
import torch
from mergan.system import cpu

parameter = torch.nn.Parameter(torch.zeros(1))
parameter.grad = torch.ones(1)
optimizer = torch.optim.Adam([parameter], fused=True)
optimizer.step()
cpu.tune()
opened = []
sys.addaudithook(lambda event, arguments: opened.append(arguments) if event == "ctypes.dlopen" else None)
optimizer.step()
print(opened)
"""
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "0"}
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=tiny.ROOT, env=environment, check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
