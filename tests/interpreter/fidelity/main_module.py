# What a program finds in its own module.
# %% names that it has from the start
print(sorted(globals()), dir() == sorted(globals()), locals() is globals(), vars() is globals())
# %% what they are
print(__name__, __file__, __doc__, __package__, __spec__, __builtins__)
print(type(__loader__).__name__, __loader__.name, __loader__.path, __annotations__)
print(globals().get("__cached__", "no __cached__"), __debug__)
# %% it is the module __main__
import sys
import __main__
from __main__ import sys as the_same
print(__main__ is sys.modules["__main__"], vars(__main__) is globals(), the_same is sys)
print(__main__, type(__main__), __main__.__dict__ is globals(), repr(__main__.__loader__.name))
# %% a docstring and annotations
"""Told by __doc__."""
x: int = 1
y: "later"
print(__doc__, __annotations__, sorted(globals()))
# %% builtins are the module, and can be taken away
import builtins
print(__builtins__ is builtins)
del __builtins__
print(len("abc"), sorted(globals()))
# %% a guarded main function
def main():
    print("main", main.__module__, main.__qualname__, main.__globals__ is globals())


if __name__ == "__main__":
    main()
# %% names of classes and functions
class A:
    class B:
        pass
    def method(self): return lambda: 0
print(A, A.B, A().method(), A.__module__, A.B.__qualname__, (lambda: 0).__qualname__)
# %% the last expression is not shown, and _ does not exist
1 + 1
try: _
except NameError as error: print(error)
# %% the source can be read and compiled again
source = __loader__.get_source("__main__")
print(source == open(__file__).read(), __loader__.get_filename(), __loader__.is_package("__main__"))
print(__loader__.get_code("__main__").co_filename, __loader__.get_data(__file__)[:4])
