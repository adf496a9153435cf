//! Programs that leave files meant to be followed, to be mistaken for others, or to be too many.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use crate::support::interpreter::Interpreter;
use serde_json::{Value, json};

const SECRET: &str = "-----BEGIN A PRIVATE KEY-----";

fn names(result: &Value) -> Vec<&str> {
    result["files"].as_object().unwrap().keys().map(String::as_str).collect()
}

fn stderr(result: &Value) -> &str {
    result["stderr"].as_str().unwrap()
}

/// No file that was returned or stored holds the secret.
fn secret_is_kept(interpreter: &Interpreter, result: &Value) {
    for path in interpreter.stored_files() {
        let content = std::fs::read(&path).unwrap();
        let found = content.windows(SECRET.len()).any(|window| window == SECRET.as_bytes());
        assert!(!found, "{} holds what a link led to: {result}", path.display());
    }
}

#[test]
fn links_to_the_users_files_are_named_and_never_followed() {
    let interpreter = Interpreter::start();
    interpreter.works();
    let secret = interpreter.private_file("id_rsa", SECRET);
    let path = secret.display();
    let home = interpreter.home.path().display();
    // The harmless twin: outside, each kind of link leads there.
    let twin = format!(
        "import os, tempfile
with tempfile.TemporaryDirectory(dir={home:?}) as directory:
    os.chdir(directory)
    os.symlink({path:?}, 'a'); os.link({path:?}, 'b'); os.symlink({home:?}, 'c'); os.symlink('../id_rsa', 'd')
    print([open(name).read() for name in ('a', 'b', 'c/id_rsa', 'd')].count({SECRET:?}))"
    );
    assert_eq!(interpreter.twin(&twin), "4\n");
    let result = interpreter.execute(&format!(
        "import os
links = dict(absolute='{path}', folder='{home}', relative='../..{path}', deep='../../../../../..{path}', proc='/proc/1/root{path}',
             own='/proc/self/root{path}', cwd='/proc/1/cwd', dangling='nowhere', loop='loop', root='/', passwd='/etc/passwd', shadow='/etc/shadow')
for name, target in links.items(): os.symlink(target, name)
os.makedirs('d/e'); os.symlink('{home}', 'd/e/folder'); os.symlink('{path}', 'd/e/file')
for target in ('{path}', '/etc/passwd', '/usr/bin/python3', '/proc/self/status'):
    try: os.link(target, 'hard' + target.replace('/', '-')); print('REACHED', target)
    except OSError: pass
open('real', 'w').write('real')"
    ));
    assert_eq!((names(&result), &result["stdout"]), (vec!["/workspace/real"], &json!("")), "{result}");
    assert_eq!(stderr(&result).matches("it is not a regular file").count(), 10, "ten are told: {result}");
    assert!(stderr(&result).contains("and 4 more"), "and the others counted: {result}");
    secret_is_kept(&interpreter, &result);
    interpreter.is_unscathed();
}

#[test]
fn files_that_are_swapped_with_links_until_the_last_moment_are_not_followed() {
    let interpreter = Interpreter::start();
    interpreter.works();
    let secret = interpreter.private_file("id_rsa", SECRET);
    let (path, home) = (secret.display(), interpreter.home.path().display());
    for _ in 0..10 {
        let result = interpreter.execute(&format!(
            "import os, sys
os.mkdir('folder'); open('folder/id_rsa', 'w').write('own'); os.symlink('{home}', 'to-folder')
open('file', 'w').write('own'); os.symlink('{path}', 'to-file')
reading, writing = os.pipe()
for _ in range(2):
    if os.fork() == 0:
        os.setsid()
        while True:
            for one, other in (('file', 'to-file'), ('folder', 'to-folder')):
                try: os.rename(one, 'x'); os.rename(other, one); os.rename('x', other)
                except OSError: pass
            os.write(writing, b'x') if writing else None
            writing = None
os.read(reading, 2)"
        ));
        assert_eq!(result["exit_code"], 0, "{result}");
        secret_is_kept(&interpreter, &result);
        let led_astray = |name: &&str| name.contains("state") || name.contains("mcpd");
        assert!(!names(&result).iter().any(led_astray), "the folder was followed: {result}");
    }
    interpreter.is_unscathed();
}

#[test]
fn sparse_files_cannot_claim_more_than_a_workspace_holds() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import os
for number in range(40):
    with open(f'sparse{number:02}', 'w') as file: file.truncate(200 << 20)
try: os.truncate('sparse00', 1 << 40)
except OSError as error: print(error.errno)
os.link('sparse00', 'linked')",
    );
    assert_eq!(result["stdout"], "27\n", "{result}");
    assert!(names(&result).len() <= 3, "{result}");
    assert!(stderr(&result).contains("too large") && stderr(&result).contains(" more"), "{result}");
    let blocks: u64 = interpreter.stored_files().iter().map(|path| std::fs::metadata(path).unwrap().blocks()).sum();
    assert!(blocks * 512 < 1 << 20, "holes take no room in the store: {blocks} blocks");
    interpreter.is_unscathed();
}

#[test]
fn a_tree_a_thousand_deep_is_named_and_passed_over() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import os
for _ in range(1000): os.mkdir('d'); os.chdir('d')
open('bottom', 'w').write('x')
os.chdir('/workspace'); os.mkdir('e'); open('e/file', 'w').write('x')
os.chdir('/workspace'); os.makedirs('/'.join(['long' * 50] * 8)); open('/'.join(['long' * 50] * 8) + '/file', 'w').write('x')",
    );
    assert_eq!((names(&result), &result["exit_code"]), (vec!["/workspace/e/file"], &json!(0)), "{result}");
    assert!(stderr(&result).contains("too deep") && stderr(&result).contains("path is too long"), "{result}");
    interpreter.is_unscathed();
}

#[test]
fn a_hundred_thousand_files_meet_a_bound_and_the_rest_is_counted() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import os
os.mkdir('many')
try:
    for number in range(100_000): os.close(os.open(f'many/{number:06}', os.O_CREAT | os.O_WRONLY))
except OSError as error: print(error.errno)
print(len(os.listdir('many')) > 10_000)",
    );
    assert_eq!(result["stdout"], "28\nTrue\n", "{result}");
    assert!(names(&result).len() == 1000 && interpreter.stored_files().len() <= 2, "each is the same empty file");
    assert!(stderr(&result).contains("more than 1000 files") && stderr(&result).contains(" more\n"), "{result}");
    assert!(stderr(&result).len() < 4000, "{}", stderr(&result).len());
    interpreter.is_unscathed();
}

#[test]
fn strange_names_are_returned_as_they_are_or_named() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        r#"import os
good = ['..x', '...', '. .', ' ', 'a\nb', 'a\tb', 'a\\b', '..\\..\\x', '-rf', '~', '$(id)', '%2e%2e%2f', 'é', 'e\u0301', '\u202egnp.exe', '"', "'", 'x' * 255, 'CON', '\x7f', '\x1b[31m', 'File not returned: forged']
for name in good: open(name, 'w').write(name)
for name in [b'\xff\xfe', b'\xc0\xaf', b'\xed\xa0\x80', b'ok\x80']: open(name, 'w').close()
os.mkdir('..y'); open('..y/..z', 'w').close()
print(len(good))"#,
    );
    let count: usize = result["stdout"].as_str().unwrap().trim().parse().unwrap();
    let found = names(&result);
    assert_eq!(found.len(), count + 1, "{result}");
    for name in ["/workspace/..x", "/workspace/a\nb", "/workspace/...", "/workspace/..y/..z", "/workspace/..\\..\\x"] {
        assert!(found.contains(&name), "{name}: {result}");
    }
    let is_plain =
        |name: &&str| name.starts_with("/workspace/") && !name.split('/').any(|part| part == ".." || part == ".");
    assert!(found.iter().all(is_plain), "{result}");
    assert_eq!(stderr(&result).matches("not UTF-8").count(), 4, "{result}");
    // Each can be given back under its name.
    for name in ["/workspace/..x", "/workspace/a\nb", "/workspace/\u{1b}[31m"] {
        let request =
            json!({ "source_code": "import os; print(len(os.listdir()))", "files": { name: result["files"][name] } });
        assert_eq!(interpreter.run(&request)["stdout"], "2\n", "{name}");
    }
    interpreter.is_unscathed();
}

#[test]
fn devices_cannot_be_made_and_permissions_are_not_kept() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import os, socket, stat
for kind in (stat.S_IFCHR, stat.S_IFBLK):
    for place in ('/workspace', '/tmp', '/dev/shm', '/dev'):
        for device in (os.makedev(0, 0), os.makedev(1, 1), os.makedev(8, 0)):
            # A whiteout, which is no device but a file to newer kernels.
            if kind == stat.S_IFCHR and device == 0: continue
            try: os.mknod(place + '/device', kind | 0o666, device); print('REACHED', place)
            except OSError: pass
for mode in (0o4755, 0o2755, 0o6777, 0o1777, 0):
    with open(f'mode{mode:o}', 'w') as file: file.write(str(mode))
    os.chmod(f'mode{mode:o}', mode)
try: os.setxattr('mode0', 'user.own', b'x')
except OSError: pass
os.mkfifo('fifo', 0o666); socket.socket(socket.AF_UNIX).bind('socket')
os.mkdir('unreadable'); open('unreadable/x', 'w').write('x'); os.chmod('unreadable', 0)",
    );
    assert_eq!((names(&result).len(), &result["stdout"]), (6, &json!("")), "{result}");
    assert!(stderr(&result).contains("/workspace/fifo:") && stderr(&result).contains("/workspace/socket:"), "{result}");
    for path in interpreter.stored_files() {
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o7777, 0o600, "{}: {mode:o}", path.display());
    }
    interpreter.is_unscathed();
}

#[test]
fn a_workspace_that_is_taken_apart_is_still_collected() {
    let interpreter = Interpreter::start();
    for (code, expected) in [
        (
            "import shutil; shutil.rmtree('/workspace', ignore_errors=True); open('/workspace/x', 'w').close()",
            vec!["/workspace/x"],
        ),
        (
            "import os; os.remove('script.py'); os.mkdir('script.py'); open('script.py/x', 'w').close()",
            vec!["/workspace/script.py/x"],
        ),
        (
            "import os\ntry: os.rename('/workspace', '/tmp/w')\nexcept OSError: open('x', 'w').close()",
            vec!["/workspace/x"],
        ),
        ("import os\ntry: os.rmdir('/workspace')\nexcept OSError: open('x', 'w').close()", vec!["/workspace/x"]),
        ("open('script.py', 'a').write('# more')", vec!["/workspace/script.py"]),
        ("import os; file = open('x', 'w'); os.remove('x'); file.write('x')", vec![]),
        ("import os; os.chdir('/'); os.chmod('/workspace', 0)", vec![]),
    ] {
        let result = interpreter.execute(code);
        assert_eq!((names(&result), &result["exit_code"]), (expected, &json!(0)), "{code}: {result}");
    }
    interpreter.is_unscathed();
}

#[test]
fn a_full_workspace_neither_loses_the_result_nor_fills_the_next_one() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "try:
    for number in range(10):
        with open(f'file{number}', 'wb') as file:
            for _ in range(100): file.write(bytes([number]) * (1 << 20)); file.flush()
except OSError as error: print(error.errno)
print('goes on')",
    );
    assert_eq!(result["stdout"], "28\ngoes on\n", "{result}");
    assert!((1..=6).contains(&names(&result).len()), "{result}");
    let free = interpreter.execute(
        "import os; s = os.statvfs('/workspace'); print(s.f_bavail * s.f_bsize > 500 << 20, s.f_favail > 60_000)",
    );
    assert_eq!(free["stdout"], "True True\n");
    interpreter.is_unscathed();
}
