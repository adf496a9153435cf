//! What must be unpredictable, although many programs are forked from one Python: random numbers, hashes, addresses.

use std::collections::BTreeSet;
use std::path::Path;

use crate::support::interpreter::Interpreter;
use crate::support::python_with_packages;
use serde_json::json;

const CALLERS: usize = 20;

/// Runs `code` for twenty callers, some at the same time: every line that each prints is another one than everyone else's.
fn differs_for_everyone(interpreter: &Interpreter, code: &str) {
    interpreter.works();
    let results: Vec<_> = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| (0..CALLERS / 4).map(|_| interpreter.execute(code)).collect::<Vec<_>>()))
            .collect();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    });
    let mut lines = BTreeSet::new();
    let mut count = 0;
    for result in &results {
        assert_eq!((&result["exit_code"], &result["stderr"]), (&json!(0), &json!("")), "{result}");
        for line in result["stdout"].as_str().unwrap().lines() {
            count += 1;
            assert!(lines.insert(line.to_owned()), "two callers got {line}");
        }
    }
    assert!(count >= results.len());
}

const RANDOM: &str = "import os, random, secrets, ssl, tempfile, uuid
print('random', random.random()); print('bits', random.getrandbits(64)); print('own', random.Random().random()); print('system', random.SystemRandom().random())
print('uuid4', uuid.uuid4()); print('uuid1', uuid.uuid1()); print('secrets', secrets.token_hex()); print('urandom', os.urandom(8)); print('ssl', ssl.RAND_bytes(8))
print('shuffled', random.sample(range(10 ** 9), 3)); print('name', next(tempfile._get_candidate_names()))
try: print('getrandom', os.getrandom(8))
except OSError: pass";

#[test]
fn random_numbers_differ_for_everyone() {
    differs_for_everyone(&Interpreter::start(), RANDOM);
}

#[test]
fn random_numbers_of_preloaded_modules_differ_for_everyone() {
    let modules = "random,secrets,ssl,uuid,tempfile,hashlib,multiprocessing";
    differs_for_everyone(&Interpreter::start_with(&[("PYTHON_INTERPRETER_MCP_PRELOAD", modules)]), RANDOM);
}

#[test]
fn random_numbers_of_packages_differ_for_everyone() {
    let Some(python) = python_with_packages() else { return };
    let interpreter = with_packages(&python);
    differs_for_everyone(
        &interpreter,
        "import numpy as np, random
print('rand', np.random.rand()); print('default_rng', np.random.default_rng().random()); print('state', np.random.RandomState().random_sample())
print('global', np.random.randint(2 ** 62)); print('permutation', np.random.permutation(1000)[:8]); print('random', random.random())
import pandas; print('sample', pandas.Series(range(10 ** 6)).sample(4).tolist())",
    );
    // The modules that are there already are no less everyone's own than the others.
    let poison = "import numpy as np, pandas, matplotlib.pyplot as plt
np.random.seed(0); np.seterr(all='raise'); np.set_printoptions(precision=1); np.array = None; np.ndarray.__module__
pandas.set_option('display.max_rows', 1); pandas.DataFrame.head = None; plt.figure(); plt.rcParams['figure.figsize'] = [1, 1]; plt.plot = None";
    let look = "import numpy as np, pandas, matplotlib.pyplot as plt
print(np.geterr(), np.get_printoptions()['precision'], np.array([1]), pandas.get_option('display.max_rows'), pandas.DataFrame({'a': [1]}).head(), plt.get_fignums(), plt.rcParams['figure.figsize'], plt.plot)";
    let before = interpreter.execute(look);
    for _ in 0..3 {
        interpreter.execute(poison);
    }
    for _ in 0..4 {
        let after = interpreter.execute(look);
        let without_address = |text: &str| text.split(" at 0x").next().unwrap().to_owned();
        assert_eq!(
            without_address(after["stdout"].as_str().unwrap()),
            without_address(before["stdout"].as_str().unwrap())
        );
    }
    interpreter.is_unscathed();
}

fn with_packages(python: &Path) -> Interpreter {
    Interpreter::start_with(&[
        ("PYTHON_INTERPRETER_MCP_PYTHON", python.to_str().unwrap()),
        ("PYTHON_INTERPRETER_MCP_PRELOAD", "numpy,pandas,matplotlib.pyplot"),
    ])
}

#[test]
fn hashes_and_addresses_are_others_after_a_restart() {
    let mut interpreter = Interpreter::start();
    let look = "import ctypes\nprint(hash('x'), id(None), ctypes.cast(ctypes.CDLL(None).puts, ctypes.c_void_p).value)";
    let first: Vec<_> = (0..5).map(|_| interpreter.execute(look)["stdout"].as_str().unwrap().to_owned()).collect();
    interpreter.restart();
    for _ in 0..5 {
        let result = interpreter.execute(look)["stdout"].as_str().unwrap().to_owned();
        for (name, index) in [("hash", 0), ("place of the C library", 2)] {
            let part = |text: &str| text.split_whitespace().nth(index).unwrap().to_owned();
            assert!(!first.iter().any(|before| part(before) == part(&result)), "the same {name} as before: {result}");
        }
    }
    interpreter.is_unscathed();
}
