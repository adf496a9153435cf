//! The end of a program's modules, in the order of CPython's own `finalize_modules`: what they hold is destroyed while a `__del__`
//! can still print. Modules that the zygote had imported stay as they are, but for what the program put into them.

use alloc::vec::Vec;
use core::ffi::CStr;

use crate::python::{self, Address, Reference};

/// The modules that were imported before there was a program, each with the number of its names then. There may be thousands: they
/// are looked at without taking references, because every count that is written copies a page of the zygote's memory.
pub struct Imported {
    /// Keeps them.
    _list: Reference,
    /// In the order of their addresses.
    modules: Vec<Address>,
    names: Vec<(Address, isize)>,
}

impl Imported {
    /// `list` holds them, in the order in which they were imported.
    pub fn new(list: Reference) -> Self {
        let found = python::items_of_list(&list);
        let names = found.iter().map(|module| module.names().address());
        let names = names.filter(|names| !names.is_null()).map(|names| (names, names.entries())).collect();
        let mut modules: Vec<Address> = found.iter().map(Reference::address).collect();
        modules.sort_unstable();
        Imported { _list: list, modules, names }
    }

    fn has(&self, module: Address) -> bool {
        self.modules.binary_search(&module).is_ok()
    }

    /// Lets the program's modules go.
    pub fn let_go_of_others(&self, collector: &Collector) {
        collector.write_open_files();
        for (name, original) in [(c"stdin", c"__stdin__"), (c"stdout", c"__stdout__"), (c"stderr", c"__stderr__")] {
            python::set_system_object(name, &python::system_object(original));
        }
        let mut weak = Vec::new();
        let modules = python::modules();
        for (name, module) in python::entries(&modules, 0, |module| !self.has(module)) {
            weak.push(python::weak_reference(&module));
            python::delete_item(&modules, &name);
        }
        collector.collect();
        let mut again = false;
        for module in weak.iter().rev().map(Reference::call).filter(Reference::is_module) {
            again = true;
            clear(&module.names(), 0);
        }
        for (names, size) in self.names.iter().rev().filter(|(names, size)| names.entries() > *size) {
            again = true;
            clear(&names.reference(), *size as usize);
        }
        if again {
            collector.collect();
        }
    }
}

/// What of `sys` is taken from a program at its end, before its modules: whoever imports then is told that it is too late.
pub fn delete_special() {
    const SPECIAL: [&CStr; 11] = [
        c"path",
        c"argv",
        c"ps1",
        c"ps2",
        c"last_type",
        c"last_value",
        c"last_traceback",
        c"path_hooks",
        c"path_importer_cache",
        c"meta_path",
        c"__interactivehook__",
    ];
    for name in SPECIAL {
        python::set_system_object(name, &python::none());
    }
    // From Python 3.12 on.
    if !python::system_object(c"last_exc").is_null() {
        python::set_system_object(c"last_exc", &python::none());
    }
}

/// Python's garbage collector.
pub struct Collector {
    collect: Reference,
    freeze: Reference,
    objects: Reference,
    callbacks: Reference,
    /// The classes of files that hold what is to be written.
    files: [Reference; 2],
}

impl Collector {
    /// `module` has `callbacks`, `collect`, `freeze` and `get_objects` of `gc`, and what `open` returns.
    pub fn of(module: &Reference) -> Option<Self> {
        let find = |name| Some(module.attribute(name)).filter(|found| !found.is_null());
        let files = [find(c"TextIOWrapper")?, find(c"BufferedWriter")?];
        Some(Collector {
            collect: find(c"collect")?,
            freeze: find(c"freeze")?,
            objects: find(c"get_objects")?,
            callbacks: find(c"callbacks")?,
            files,
        })
    }

    /// Has the collector never look again at what there is now.
    pub fn freeze(&self) {
        if self.freeze.call().is_null() {
            python::forget_exception();
        }
    }

    /// Collects once more while all modules are whole, and has nobody told of what is collected after that: as CPython does, whose
    /// later collections call no callback, because what it needs may be gone.
    pub fn collect_for_the_last_time(&self) {
        python::collect_garbage();
        // They are not to end now, but with the process.
        core::mem::forget(python::items_of_list(&self.callbacks));
        python::clear_list(&self.callbacks);
    }

    fn collect(&self) {
        if self.collect.call().is_null() {
            python::forget_exception();
        }
    }

    /// The collector may close a file's descriptor before the object that holds its unwritten text. What is frozen is not looked at:
    /// these are the program's own.
    fn write_open_files(&self) {
        for object in python::items_of_list(&self.objects.call()) {
            if self.files.iter().any(|class| object.is_instance(class)) && object.attribute(c"flush").call().is_null() {
                // Closed, or the disk is full: as at its destruction, nobody hears of it.
                python::forget_exception();
            }
        }
    }
}

/// Sets the names of a module to None, from the one at `first` on: those with one underscore first.
fn clear(names: &Reference, first: usize) {
    let none = python::none();
    for private in [true, false] {
        for (name, _) in python::entries(names, first, |_| true) {
            let underscores = [0, 1].map(|place| python::character(&name, place) == Some('_'));
            let is_private = underscores == [true, false];
            if private == is_private && !python::is_text(&name, c"__builtins__") {
                python::set_item(names, &name, &none);
            }
        }
    }
}
