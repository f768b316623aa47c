"""Drives a program on a pseudo-terminal: what a user types, and what must then be seen.

Usage: terminal.py COLUMNS STEPS PROGRAM [ARGUMENT...]

STEPS is a file with a step a line: `send TEXT` types (with the escapes of Python's strings), `expect TEXT` waits until the
text was seen after the last one that was expected, `reject TEXT` fails when it was seen since the last expect, `end` waits for the program to end.
Escape sequences are left out of what is seen. Prints, for each expect and end, the milliseconds since
the last thing typed (or since the start), then `status N`. Fails with the transcript after a minute of waiting.
"""
import fcntl
import os
import pty
import re
import select
import struct
import sys
import termios
import time

PATIENCE = 60
ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x1b[()][A-Z0-9]|\x1b[=>]|\r")


class Terminal:
    def __init__(self, columns, command):
        self.raw = b""
        self.at = 0  # in what was seen: behind the last text that was expected
        self.typed = time.monotonic()
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execv(command[0], command)
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))

    def seen(self):
        return ESCAPES.sub("", self.raw.decode("utf-8", "replace"))

    def read(self, seconds):
        """Whether there may be more to come."""
        if select.select([self.fd], [], [], seconds)[0]:
            try:
                data = os.read(self.fd, 65536)
            except OSError:  # the program has closed its side
                return False
            self.raw += data
            return bool(data)
        return True

    def milliseconds(self):
        return round((time.monotonic() - self.typed) * 1000)

    def fail(self, message):
        sys.exit(f"{message}; seen:\n{self.seen()}")

    def send(self, text):
        # A user looks before typing; what is typed while the terminal changes its mode may get lost.
        size = -1
        while size != len(self.raw):
            size = len(self.raw)
            self.read(0.04)
        data = text.encode("utf-8").decode("unicode_escape").encode("latin-1")
        self.typed = time.monotonic()
        os.write(self.fd, data)

    def expect(self, text):
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen()[self.at:]:
            if time.monotonic() > deadline or not self.read(0.05):
                self.fail(f"expected {text!r}")
        self.at = self.seen().index(text, self.at) + len(text)
        print(self.milliseconds())

    def reject(self, text):
        if text in self.seen()[self.at:]:
            self.fail(f"did not expect {text!r}")

    def end(self):
        deadline = time.monotonic() + PATIENCE
        while self.read(0.05):
            if time.monotonic() > deadline:
                self.fail("the program does not end")
        print(self.milliseconds())


def main():
    columns, steps, command = int(sys.argv[1]), sys.argv[2], sys.argv[3:]
    terminal = Terminal(columns, command)
    with open(steps, encoding="utf-8") as file:
        for line in file:
            step, _, text = line.rstrip("\n").partition(" ")
            if step == "send":
                # ASCII only in steps that are typed; others are given as escapes.
                terminal.send(text)
            elif step == "expect":
                terminal.expect(text)
            elif step == "reject":
                terminal.reject(text)
            elif step == "end":
                terminal.end()
            else:
                sys.exit(f"no such step: {line}")
    os.close(terminal.fd)
    _, status = os.waitpid(terminal.pid, 0)
    print("status", os.waitstatus_to_exitcode(status))


main()
