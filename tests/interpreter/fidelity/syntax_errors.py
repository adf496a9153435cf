# Programs that cannot be compiled.
# %% a missing parenthesis
print("never")
x = (1 + 2
y = 3
# %% an expression that ends too early
x = 1 +
# %% a keyword in the wrong place
if x = 1: pass
# %% a statement of Python 2
print "hello"
# %% an exec of Python 2, and a missing colon
def function()
    pass
# %% an unterminated string
text = "abc
# %% an unterminated string of many lines
text = """abc
def
# %% an unexpected indent
x = 1
    y = 2
# %% a block that is missing
def function():
x = 1
# %% an unindent that matches nothing
if True:
        x = 1
    y = 2
# %% tabs and spaces
if True:
        x = 1
	y = 2
# %% return outside of a function
return 1
# %% await outside of a function
await x
# %% yield outside of a function
yield 1
# %% break outside of a loop
break
# %% nonlocal at module level
nonlocal x
# %% a global that is used before
def function():
    x = 1
    global x
# %% a duplicate argument
def function(a, a): pass
# %% an assignment to a literal
1 = x
# %% an assignment to a keyword
None = 1
# %% an invalid character
x = “text”
# %% an invisible character
x = 1​ + 2
# %% an invalid number
x = 0777
# %% an invalid escape in a unicode string
x = "\N{NO SUCH NAME}"
# %% non-ASCII characters in bytes
x = b"ä"
# %% an f-string
x = f"{1 +}"
# %% an f-string that does not end
x = f"{1"
# %% unmatched brackets
x = (1, 2]
# %% an unknown future feature
from __future__ import nothing
# %% a future import that is late
x = 1
from __future__ import annotations
# %% star import in a function
def function():
    from os import *
# %% a positional argument after a keyword argument
print(end="", "x")
# %% a walrus at top level
x := 1
# %% except star and except together
try: pass
except* ValueError: pass
except TypeError: pass
# %% an unknown encoding
# -*- coding: nonsense -*-
print("never")
# %% caught and printed by the program
import sys, traceback
try: compile("a = (\nb = ]", "own name", "exec")
except SyntaxError as error:
    print(error.msg, error.filename, error.lineno, error.offset, error.text, error.end_lineno, error.end_offset)
    traceback.print_exc()
# %% raised by the program
raise SyntaxError("own message", ("name.py", 3, 5, "text of the line", 3, 9))
# %% a hook does not see what was never run
import sys
sys.excepthook = lambda *arguments: print("never")
x = = 1
