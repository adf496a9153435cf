# Source text: encodings, futures, and what compilation is told.
# %% a latin-1 cookie with ASCII text
# -*- coding: latin-1 -*-
print("plain")
# %% a latin-1 cookie, so UTF-8 is read as something else
# -*- coding: latin-1 -*-
print("é", len("é"), ascii("€"))
# %% a utf-8 cookie
# vim: set fileencoding=utf-8 :
print("é", len("é"))
# %% an ASCII cookie with other text
# -*- coding: ascii -*-
print("é")
# %% names are normalized
ﬁ = 1
print(fi, "ﬁ" in globals(), "fi" in globals())
# %% postponed annotations
from __future__ import annotations
def function(x: undefined) -> 1 / 0: pass
print(function.__annotations__, annotations)
# %% annotations are evaluated where they are not postponed
def function(x: undefined): pass
# %% no future is passed on to exec, eval and compile
code = compile("def f(x: int): pass\nprint(f.__annotations__)", "x", "exec")
exec(code)
exec("def f(x: 1 + 1): pass\nprint(f.__annotations__)")
print(code.co_flags, eval(compile("7 / 2", "x", "eval")))
# %% a future of its own is passed on
from __future__ import annotations
exec("def f(x: undefined): pass\nprint(f.__annotations__)")
import sys
print(sys._getframe().f_code.co_flags)
# %% constants, line numbers and names of the module's code
import sys
code = sys._getframe().f_code
print(code.co_names, code.co_consts[:2], code.co_firstlineno, code.co_stacksize, code.co_nlocals, code.co_filename)
print(sum(code.co_code) % 1000 >= 0, [line for _, _, line in code.co_lines() if line][:5])
# %% inspect.getsource
import inspect
def function(x):
    # a comment
    return x
class A:
    def method(self): pass
print(inspect.getsource(function), inspect.getsource(A), inspect.getsourcefile(A), inspect.getsourcelines(A.method))
print(inspect.getmodule(function), inspect.getcomments(function), inspect.getfile(function))
print(inspect.getsource(inspect.currentframe()).splitlines()[0])
# %% linecache
import linecache
print(repr(linecache.getline(__file__, 1)), repr(linecache.getline("script.py", 2)), repr(linecache.getline("no", 1)))
print(linecache.getline("<string>", 1), linecache.getlines("")) # there is no such file
# %% line continuation and semicolons
x = 1; y = \
2; print(x,
         y); z = """
# no comment"""; print(z)
# %% a long literal
print(len("0123456789" * 10), len([0] * 1000), 10 ** 100, 0x_ff, 1_000, 1e400, .5j)
