"""A child runs this before its program, so that the memory pages which any program changes are copied by then."""

import sys


class Rehearsal:
    def __init__(self, number):
        self.text = f"{number:4} {number / 3:.2f}"

    def lines(self):
        return [line.strip() for line in self.text.split()]


def rehearse():
    found = {number: Rehearsal(number).lines() for number in range(3)}
    try:
        found["missing"]
    except KeyError as error:
        found[str(error)] = sorted(found, key=str)
    print(end="")
    sys.stdout.flush()


rehearse()
