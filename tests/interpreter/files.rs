//! Files: what a program leaves is returned by an id, and what has an id can be given to another program.

use std::os::unix::fs::PermissionsExt;

use crate::support::interpreter::Interpreter;
use serde_json::json;

#[test]
fn files_come_out_and_go_in_again_by_the_sha256_of_their_content() {
    let interpreter = Interpreter::start();
    let made = interpreter.execute("import os; os.makedirs('a/b'); open('a/b/c.bin', 'wb').write(bytes(range(256)))");
    let id = made["files"]["/workspace/a/b/c.bin"].as_str().unwrap().to_owned();
    assert_eq!(id, "40aff2e9d2d8922e47afd4648e6967497158785fbd1da870e7110266bf944880");
    let content = interpreter.request("GET", &format!("/v1/files/{id}"), &[], b"");
    assert_eq!((content.status, content.body), (200, (0..=255).collect::<Vec<u8>>()));

    let program = "data = open('/workspace/in/x', 'rb').read(); print(len(data)); open('in/x', 'ab').write(b'!')";
    let files = json!({ "/workspace/in/x": id, "/workspace/kept": id });
    let changed = interpreter.post(&json!({ "source_code": program, "files": files })).json();
    assert_eq!(changed["stdout"], "256\n", "{changed}");
    // What was given and not changed is not given back.
    assert_eq!(changed["files"].as_object().unwrap().keys().collect::<Vec<_>>(), ["/workspace/in/x"]);
}

#[test]
fn files_come_in_the_order_in_which_they_were_last_written() {
    let interpreter = Interpreter::start();
    let program = "import time
for name in ('z.png', 'b', 'plot-10.png', 'plot-2.png', 'a'):
    open(name, 'w').write(name); time.sleep(0.05)
open('b', 'a').write('again')";
    let answer = interpreter.post(&json!({ "source_code": program }));
    let text = String::from_utf8(answer.body).unwrap();
    let place = |name: &str| text.find(&format!("/workspace/{name}\"")).unwrap();
    let places = ["z.png", "plot-10.png", "plot-2.png", "a", "b"].map(place);
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn a_file_can_be_put_under_its_own_id_only() {
    let interpreter = Interpreter::start();
    let id = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!(interpreter.request("PUT", &format!("/v1/files/{id}"), &[], b"abc").status, 201);
    let request = json!({ "source_code": "print(open('f').read())", "files": { "/workspace/f": id } });
    assert_eq!(interpreter.post(&request).json()["stdout"], "abc\n");
    let wrong = interpreter.request("PUT", &format!("/v1/files/{id}"), &[], b"abcd");
    assert_eq!(wrong.status, 422);
    assert!(wrong.json()["detail"].as_str().unwrap().contains("SHA-256"));
}

#[test]
fn stored_files_are_the_owners_alone() {
    let interpreter = Interpreter::start();
    interpreter.execute("open('x', 'w').write('private')");
    let files = interpreter.home.path().join("state/python-interpreter-mcp/files");
    let mode = |path: &std::path::Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&files), 0o700);
    let stored: Vec<_> = std::fs::read_dir(&files).unwrap().map(|entry| entry.unwrap().path()).collect();
    // The file, and not the program.
    assert!(stored.len() == 1 && stored.iter().all(|path| mode(path) == 0o600), "{stored:?}");
}

#[test]
fn only_regular_files_are_returned_and_what_is_left_out_is_named() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute(
        "import os, socket
os.symlink('/etc/passwd', 'link'); os.symlink('/', 'dir'); os.mkfifo('fifo'); socket.socket(socket.AF_UNIX).bind('sock')
open(b'\\xff', 'w').close(); open('new\\nline', 'w').close()
os.makedirs('/'.join(['d'] * 60)); os.mkdir('locked'); open('locked/x', 'w').close(); os.chmod('locked/x', 0); os.chmod('locked', 0)
os.truncate(os.open('sparse', os.O_CREAT | os.O_RDWR), 200 << 20)",
    );
    let names: Vec<_> = result["files"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(names, ["/workspace/locked/x", "/workspace/new\nline", "/workspace/sparse"], "{result}");
    let stderr = result["stderr"].as_str().unwrap();
    for omitted in [
        "/workspace/link: it is not a regular file",
        "/workspace/dir:",
        "/workspace/fifo:",
        "/workspace/sock:",
        "not UTF-8",
        "too deep",
    ] {
        assert!(stderr.contains(omitted), "{omitted}: {stderr}");
    }
}

#[test]
fn permissions_that_a_program_takes_away_do_not_hide_its_files() {
    let interpreter = Interpreter::start();
    for mode in ["0", "0o400"] {
        let code =
            format!("import os; os.mkdir('d'); open('d/x', 'w').close(); os.chmod('d', {mode}); os.chmod('.', {mode})");
        let result = interpreter.execute(&code);
        assert_eq!(result["files"].as_object().unwrap().keys().collect::<Vec<_>>(), ["/workspace/d/x"], "{result}");
        assert_eq!(result["stderr"], "");
    }
}

#[test]
fn files_beyond_their_number_are_left_out_and_the_script_is_none_of_them() {
    let interpreter = Interpreter::start();
    let result = interpreter.execute("for number in range(1002): open(f'{number:04}', 'w').close()");
    assert_eq!(result["files"].as_object().unwrap().len(), 1000);
    let stderr = result["stderr"].as_str().unwrap();
    assert!(stderr.matches("more than 1000 files").count() == 2 && !stderr.contains("script.py"), "{stderr}");
}

#[test]
fn a_file_named_like_the_script_is_kept() {
    let interpreter = Interpreter::start();
    let id = interpreter.execute("open('x', 'w').write('mine')")["files"]["/workspace/x"].clone();
    let request =
        json!({ "source_code": "print(open('script.py').read(), __file__)", "files": { "/workspace/script.py": id } });
    let result = interpreter.post(&request).json();
    assert_eq!(
        (&result["stdout"], &result["files"]),
        (&json!("mine /workspace/script-2.py\n"), &json!({})),
        "{result}"
    );
}

#[test]
fn an_input_file_that_is_changed_through_a_mapping_is_returned() {
    let interpreter = Interpreter::start();
    let id = interpreter.execute("open('x', 'w').write('aaaa')")["files"]["/workspace/x"].clone();
    let code = "import mmap
with open('x', 'r+b') as file, mmap.mmap(file.fileno(), 0) as memory:
    assert memory[:4] == b'aaaa'
    memory[:4] = b'bbbb'";
    let result = interpreter.post(&json!({ "source_code": code, "files": { "/workspace/x": id } })).json();
    assert!(result["files"]["/workspace/x"].is_string(), "{result}");
}
