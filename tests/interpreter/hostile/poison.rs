//! Programs that change Python itself, its process or its memory for whoever comes next: the next twenty callers see nothing of
//! it.

use crate::support::interpreter::Interpreter;
use serde_json::json;

const CALLERS: usize = 20;

/// What a program finds that another one could have changed.
const WHAT_IS_FOUND: &str = r#"
import builtins, codecs, decimal, gc, json, locale, logging, math, os, random, re, resource, signal, socket, string, sys, threading, time, warnings
def attempt(act):
    try: return repr(act())
    except BaseException as error: return repr(error)
descriptors, processes = len(os.listdir('/proc/self/fd')), sorted(name for name in os.listdir('/proc') if name.isdigit())
found = dict(
    builtins=sorted(builtins.__dict__), types=[type(getattr(builtins, name)).__name__ for name in sorted(vars(builtins)) if name != '_'],
    modules=sorted(sys.modules), path=sys.path, finders=[repr(type(one)) for one in sys.meta_path], hooks=len(sys.path_hooks),
    json=attempt(lambda: json.loads(json.dumps({'a': [1, 2.5, None]}))), re=attempt(lambda: re.findall('a+', 'aab')),
    codecs=attempt(lambda: 'é'.encode().decode('utf-8')), own_codec=attempt(lambda: codecs.lookup('poison')), errors=attempt(lambda: codecs.lookup_error('poison')),
    environ=sorted(os.environ.items()), c_environ=attempt(lambda: os.popen('env | sort').read()), recursion=sys.getrecursionlimit(), switch=sys.getswitchinterval(),
    gc=(gc.isenabled(), gc.get_threshold(), gc.callbacks, gc.get_debug(), gc.garbage), trace=(sys.gettrace(), sys.getprofile()),
    signals=[attempt(lambda: signal.getsignal(number)) for number in (1, 2, 10, 13, 14, 15, 17)], mask=repr(signal.pthread_sigmask(0, [])), timer=signal.getitimer(0),
    locale=attempt(lambda: (locale.setlocale(locale.LC_ALL), locale.localeconv()['decimal_point'])), umask=os.umask(0o022), cwd=os.getcwd(),
    limits=[resource.getrlimit(number) for number in range(16)], priority=os.getpriority(0, 0), processors=sorted(os.sched_getaffinity(0)),
    comm=open('/proc/self/comm').read(), oom=open('/proc/self/oom_score_adj').read(), dumpable=open('/proc/self/coredump_filter').read(),
    arithmetic=(2 + 3, [number for number in range(-5, 20)], 5 * 5, len('abcde'), math.sqrt(25), sum([1, 4]), 5 == 4 + 1, str(5), int('5')),
    text=('abc'.upper(), ''.join(['a', 'b']), 'x' 'y', str(None), str(True), repr(()), '%s' % 5, hasattr(str, 'poison'), hasattr(int, 'poison')),
    strings=(string.ascii_letters, string.digits, sys.version, os.sep, os.name), streams=(sys.stdout.encoding, sys.stdout.errors, sys.stderr.line_buffering),
    sys_hooks=[getattr(sys, name) is getattr(sys, f'__{name}__') for name in ('excepthook', 'displayhook', 'unraisablehook', 'breakpointhook', 'stdout', 'stderr')],
    threads=(threading.active_count(), threading.excepthook.__name__, threading.stack_size()), warnings=len(warnings.filters), decimal=repr(decimal.getcontext()),
    logging=(logging.root.level, logging.root.handlers, logging.root.disabled, logging.root.manager.disable), sockets=socket.getdefaulttimeout(),
    files=[sorted(os.listdir(path)) for path in ('/workspace', '/tmp', '/dev/shm')], descriptors=descriptors, processes=processes,
    host=socket.gethostname(), time=(time.tzname, time.time() > 1.7e9),
    source=attempt(lambda: open(json.__file__).read()[:200]), digits=sys.get_int_max_str_digits() if hasattr(sys, 'get_int_max_str_digits') else 0,
    main=[name for name in sorted(sys.modules['__main__'].__dict__) if name not in ('found', 'attempt', 'descriptors', 'processes')],
)
sys.__stdout__.write(json.dumps(found, default=repr, sort_keys=True))
"#;

/// Runs each of the poisons, whatever comes of it, and then compares what the next callers find with what was found before.
fn leaves_the_next_callers_clean(interpreter: &Interpreter, poisons: &[&str]) {
    let find = || interpreter.execute(WHAT_IS_FOUND);
    let before = find();
    assert_eq!((&before["exit_code"], &before["stderr"]), (&json!(0), &json!("")), "{before}");
    for poison in poisons {
        interpreter.run_for(20.0, poison);
    }
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..CALLERS / 4 {
                    let after = find();
                    assert_eq!(after["stderr"], "");
                    let same = after["stdout"] == before["stdout"];
                    assert!(
                        same,
                        "{}",
                        first_difference(after["stdout"].as_str().unwrap(), before["stdout"].as_str().unwrap())
                    );
                }
            });
        }
    });
    interpreter.is_unscathed();
}

fn first_difference(after: &str, before: &str) -> String {
    let at = after.bytes().zip(before.bytes()).take_while(|(one, other)| one == other).count();
    let part = |text: &str| {
        String::from_utf8_lossy(&text.as_bytes()[at.saturating_sub(80)..text.len().min(at + 200)]).into_owned()
    };
    format!("before: …{}\nafter: …{}", part(before), part(after))
}

#[test]
fn builtins_and_types_are_everyones_own() {
    leaves_the_next_callers_clean(
        &Interpreter::start(),
        &[
            "import builtins
builtins.print = lambda *a, **k: None
builtins.len = lambda x: 4
builtins.open = None
builtins.poison = 1",
            "import builtins
for name in list(vars(builtins)): del vars(builtins)[name]",
            "import builtins
builtins.__import__ = None
builtins.__build_class__ = None
builtins.str = bytes",
            "import ctypes, gc
gc.get_referents(str.__dict__)[0]['poison'] = 1; gc.get_referents(int.__dict__)[0]['poison'] = 1
ctypes.pythonapi.PyType_Modified(ctypes.py_object(str))
gc.get_referents(str.__dict__)[0]['upper'] = lambda s: 'poison'",
            "import ctypes, gc
gc.get_referents(int.__dict__)[0].clear(); ctypes.pythonapi.PyType_Modified(ctypes.py_object(int))",
        ],
    );
}

#[test]
fn modules_and_their_caches_are_everyones_own() {
    leaves_the_next_callers_clean(
        &Interpreter::start(),
        &[
            "import json, re, os, math, random
json.loads = json.dumps = lambda *a: 'poison'
re.findall = None
os.environ.clear(); os.getcwd = lambda: '/poison'
math.sqrt = None
random.seed(1)",
            "import sys
for name in list(sys.modules):
    if name not in ('sys', 'builtins'): sys.modules[name] = None",
            "import sys
sys.path[:] = ['/poison']; sys.meta_path.clear(); sys.path_hooks.clear(); sys.path_importer_cache.clear()",
            "import codecs, encodings
codecs.register(lambda name: codecs.CodecInfo(len, len) if name == 'poison' else None); codecs.register_error('poison', len)
encodings._cache.clear(); encodings.search_function = None",
            "import sys, types
for name, module in list(sys.modules.items()):
    for key in list(vars(module)):
        if name not in ('__main__', 'sys', 'builtins', 'types') and isinstance(vars(module)[key], types.FunctionType) and not vars(module)[key].__code__.co_freevars: vars(module)[key].__code__ = (lambda *a, **k: 'poison').__code__",
            "import json, linecache, re, warnings, logging, decimal, socket, threading, sys, string
re.compile = None; re.purge(); warnings.resetwarnings(); logging.disable(50); logging.root.addHandler(None); socket.setdefaulttimeout(1)
decimal.getcontext().prec = 2; decimal.DefaultContext.prec = 2; decimal.setcontext(decimal.ExtendedContext)
threading.excepthook = sys.excepthook = sys.displayhook = sys.unraisablehook = None; string.digits = 'poison'",
            "import importlib, json, sys
sys.modules['json'] = type(sys)('json'); sys.modules['json'].loads = None; importlib.invalidate_caches()
import importlib._bootstrap_external as b
b.SourceFileLoader.get_code = None",
            "import os
for place in ('/usr/lib/python3/dist-packages', '/usr/lib', '/workspace', '/tmp'):
    for name in ('json.py', 'sitecustomize.py', 'usercustomize.py', 'poison.pth'):
        try: open(os.path.join(place, name), 'w').write('raise SystemExit(99)')
        except OSError: pass",
        ],
    );
}

#[test]
fn the_state_of_the_process_is_everyones_own() {
    leaves_the_next_callers_clean(
        &Interpreter::start(),
        &[
            "import sys, gc
sys.setrecursionlimit(50); sys.setswitchinterval(9); gc.disable(); gc.set_threshold(1, 1, 1); gc.callbacks.append(print); gc.set_debug(gc.DEBUG_SAVEALL); gc.freeze()
sys.settrace(lambda *a: None); sys.setprofile(lambda *a: None)",
            "import signal
for number in range(1, 64):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 64)); signal.setitimer(0, 100, 100); signal.alarm(50)",
            "import ctypes, locale, os
locale.setlocale(locale.LC_ALL, 'C'); os.umask(0o777); os.chdir('/'); os.environ['PATH'] = '/poison'; os.putenv('POISON', '1')
ctypes.CDLL(None).setenv(b'LD_PRELOAD', b'/poison', 1); ctypes.CDLL(None).clearenv()",
            "import resource
for number in range(16):
    hard = resource.getrlimit(number)[1]
    if number not in (0, 2, 3, 9): resource.setrlimit(number, (1, 1) if hard < 0 or hard >= 1 else (0, 0))",
            "import os
os.nice(19); os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
for name, text in (('oom_score_adj', '1000'), ('comm', 'poison'), ('coredump_filter', '0x7f'), ('sched_autogroup_enabled', '0')):
    try: open('/proc/self/' + name, 'w').write(text)
    except OSError: pass",
            "import os, sys
sys.stdout.reconfigure(encoding='utf-16'); sys.stderr.close(); os.close(0); os.dup2(1, 9); os.dup2(1, 100)
os.write(1, b'x' * 1000)",
            "import os, threading, time
for _ in range(50): threading.Thread(target=time.sleep, args=(1000,), daemon=True).start()
for _ in range(20):
    if os.fork() == 0: os.setsid(); time.sleep(1000)",
            "for place in ('/workspace', '/tmp', '/dev/shm'):
    for number in range(100): open(f'{place}/poison{number}', 'w').write('poison')",
            "import ctypes, os
libc = ctypes.CDLL(None)
libc.sethostname(b'poison', 6); libc.prctl(4, 0, 0, 0, 0); libc.prctl(1, 9, 0, 0, 0); libc.prctl(36, 1, 0, 0, 0); libc.personality(0x0040000)
libc.mlockall(7); os.environ['TZ'] = 'Asia/Tokyo'; import time; time.tzset()",
        ],
    );
}

#[test]
fn memory_is_everyones_own() {
    leaves_the_next_callers_clean(
        &Interpreter::start(),
        &[
            "import ctypes
ctypes.memmove(id(5) + 24, b'\\6\\0\\0\\0', 4)
print(2 + 3)",
            "import ctypes, string, sys
for text in ('abc', string.digits, string.ascii_letters, 'upper', sys.version): ctypes.memset(id(text) + 48, 80, len(text))",
            "import ctypes
for thing in (None, True, (), '', b''): ctypes.memset(id(thing) + 16, 0xff, 1)",
            "import ctypes, gc
for thing in gc.get_objects(): ctypes.memset(id(thing), 0, 8)",
            "import ctypes, gc
for thing in gc.get_objects()[:5000]: ctypes.memset(id(thing) + 16, 0x41, 16)",
            "import ctypes
for line in open('/proc/self/maps'):
    span, rights = line.split()[:2]
    start, end = (int(part, 16) for part in span.split('-'))
    if 'w' in rights and 'stack' not in line: ctypes.memset(start, 0x50, end - start)",
            // Through this file, pages are written to whatever their protection, which makes them the process's own.
            "import os
maps = open('/proc/self/maps').read().splitlines()
memory = os.open('/proc/self/mem', os.O_RDWR)
for line in maps:
    start, end = (int(part, 16) for part in line.split()[0].split('-'))
    if 'r-xp' in line and 'libc' not in line and 'vdso' not in line:
        for page in range(start, end, 4096):
            try: os.pwrite(memory, b'\\xcc' * 4096, page)
            except OSError: pass",
            "import json, mmap, os
for path in (json.__file__, '/usr/bin/python3', '/bin/sh'):
    try: mmap.mmap(os.open(path, os.O_RDONLY), 0, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)[:6] = b'poison'
    except OSError: pass
    try: os.truncate(path, 0)
    except OSError: pass",
            "import ctypes
ctypes.pythonapi.Py_IncRef(ctypes.py_object(None)); ctypes.pythonapi.Py_FinalizeEx()",
        ],
    );
}

#[test]
fn what_is_written_to_memory_has_its_effect_where_it_is_written() {
    // The twin of the above: the writes are not idle.
    let interpreter = Interpreter::start();
    let poison = "import ctypes\nctypes.memmove(id(5) + 24, b'\\6\\0\\0\\0', 4)\nx = 2\nprint(x + 3 == 6, flush=True)\nimport os; os._exit(0)";
    assert_eq!(interpreter.execute(poison)["stdout"], "True\n");
    assert_eq!(interpreter.execute("x = 2\nprint(x + 3)")["stdout"], "5\n");
}
