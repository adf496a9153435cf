//! Destroys a program's modules in the order of CPython's `finalize_modules`, so that a `__del__` can still print. Modules that the zygote
//! had imported stay, without the names that the program added to them.

use alloc::vec::Vec;
use core::ffi::CStr;

use crate::python::{self, Address, Reference};

/// The modules that the zygote has imported, each with its number of names. There may be thousands, so no references are taken: changing
/// a reference count copies a page of the zygote's memory.
pub struct Imported {
    /// Keeps the modules alive.
    _list: Reference,
    /// Sorted by address.
    modules: Vec<Address>,
    names: Vec<(Address, isize)>,
}

impl Imported {
    /// `list` is a list of the modules, in the order of their import.
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

    /// Destroys the program's modules.
    pub fn destroy_other_modules(&self, collector: &GarbageCollector) {
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

/// Sets the names of `sys` to None that CPython resets before it destroys modules. An import fails from then on.
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
    // Exists since Python 3.12.
    if !python::system_object(c"last_exc").is_null() {
        python::set_system_object(c"last_exc", &python::none());
    }
}

/// Python's garbage collector.
pub struct GarbageCollector {
    collect: Reference,
    freeze: Reference,
    objects: Reference,
    callbacks: Reference,
    /// The classes of files with write buffers.
    files: [Reference; 2],
}

impl GarbageCollector {
    /// `module` must have `callbacks`, `collect`, `freeze` and `get_objects` of `gc`, and the classes that `open` returns.
    pub fn of(module: &Reference) -> Option<Self> {
        let find = |name| Some(module.attribute(name)).filter(|found| !found.is_null());
        let files = [find(c"TextIOWrapper")?, find(c"BufferedWriter")?];
        Some(GarbageCollector {
            collect: find(c"collect")?,
            freeze: find(c"freeze")?,
            objects: find(c"get_objects")?,
            callbacks: find(c"callbacks")?,
            files,
        })
    }

    /// Excludes all existing objects from garbage collection.
    pub fn freeze(&self) {
        if self.freeze.call().is_null() {
            python::forget_exception();
        }
    }

    /// Collects once more while all modules are intact, then removes the callbacks. CPython does the same: later collections call no
    /// callback, because what it needs may be destroyed.
    pub fn collect_for_the_last_time(&self) {
        python::collect_garbage();
        // The callbacks themselves must stay alive until the process ends.
        core::mem::forget(python::items_of_list(&self.callbacks));
        python::clear_list(&self.callbacks);
    }

    fn collect(&self) {
        if self.collect.call().is_null() {
            python::forget_exception();
        }
    }

    /// Flushes the program's open files: the collector may close a file's descriptor before the object that buffers its text. Frozen
    /// objects are not listed, so only the program's own files are found.
    fn write_open_files(&self) {
        for object in python::items_of_list(&self.objects.call()) {
            if self.files.iter().any(|class| object.is_instance(class)) && object.attribute(c"flush").call().is_null() {
                // The file is closed, or the disk is full. Errors of a file's destruction are ignored as well.
                python::forget_exception();
            }
        }
    }
}

/// Sets a module's names from index `first` on to None: those with a single underscore first.
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
