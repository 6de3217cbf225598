"""Work of a process of its own, in a module that imports nothing heavy."""

import os
import signal
import time


def square(number):
    """The square of a number; 3 ends the process, as the kernel does where memory runs out."""
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number, number**2, os.getpid()


def wait(path):
    """Note the number of this process and stay."""
    with open(path, "w", encoding="ascii") as file:
        file.write(str(os.getpid()))
    time.sleep(600)
