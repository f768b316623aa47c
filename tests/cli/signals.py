"""Sends signals to the REPL on a pseudo-terminal, at the prompt and while a run goes on, at random moments.

Usage: signals.py PROGRAM ROUNDS. Prints for each what was sent, where, the status of a shell, and whether the modes of the
terminal are what they were; then the longest time to the end in seconds, without ten times
what the machine takes now to start the program.
"""
import fcntl
import os
import pty
import random
import select
import signal
import subprocess
import sys
import termios
import time

SIGNALS = [signal.SIGTERM, signal.SIGHUP]


def start(program, slave):
    pid = os.fork()
    if pid == 0:
        os.setsid()
        fcntl.ioctl(slave, termios.TIOCSCTTY, 0)
        for fd in range(3):
            os.dup2(slave, fd)
        os.execv(program, [program])
    return pid


def wait_for(master, text):
    seen = b""
    deadline = time.monotonic() + 60
    while text not in seen and time.monotonic() < deadline:
        if select.select([master], [], [], 0.1)[0]:
            seen += os.read(master, 65536)


def one(program, sig, runs, rng):
    master, slave = pty.openpty()
    before = termios.tcgetattr(slave)
    begin = time.monotonic()
    subprocess.run([program, "-e", "-- nothing"], check=True)
    started = time.monotonic() - begin
    pid = start(program, slave)
    wait_for(master, b"leaves")
    time.sleep(0.3)
    if runs:
        os.write(master, b"lb.range(1000000000000):map(function(x) return x end):count()\n")
        wait_for(master, b"count()")
        time.sleep(0.3)
    time.sleep(rng.uniform(0, 0.2))
    os.kill(pid, sig)
    sent = time.monotonic()
    status = None
    while status is None and time.monotonic() - sent < 60:
        if select.select([master], [], [], 0.01)[0]:
            os.read(master, 65536)
        ended, value = os.waitpid(pid, os.WNOHANG)
        if ended:
            status = os.waitstatus_to_exitcode(value)
            status = 128 - status if status < 0 else status
    took = time.monotonic() - sent
    if status is None:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    same = termios.tcgetattr(slave) == before
    os.close(master)
    os.close(slave)
    print(sig.name, "run" if runs else "prompt", status, "restored" if same else "changed", flush=True)
    return max(0, took - 10 * started)


def main():
    rng = random.Random()
    print(f"{max(one(sys.argv[1], SIGNALS[i % 2], i // 2 % 2 == 1, rng) for i in range(int(sys.argv[2]))):.1f}")


main()
