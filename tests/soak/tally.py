"""What the soak tests count: jobs that are as they should be, and those that are not."""


class Tally:
    def __init__(self):
        self.passed = self.failed = 0

    def take(self, name, problem):
        """A job's end; problem: what is wrong with it, or None."""
        if problem is None:
            self.passed += 1
            return
        self.failed += 1
        print(f"FAILED {name}: {problem}", flush=True)

    def end(self):
        """Tells; the exit status."""
        print(f"{self.passed} passed, {self.failed} failed, 0 skipped")
        return 1 if self.failed else 0
