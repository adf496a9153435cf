"""Every Python in a slot imports this at its start. Makes `plt.show()` and PIL's `Image.show()` save pictures, and
has Python find the bytecode that is kept for it. Then removes itself."""

import sys


class FindForSlots:
    """A meta path finder for the Matplotlib back end beside this file. Also makes PIL.ImageShow save what it shows."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "matplotlib_to_file":
            from importlib.util import spec_from_file_location

            return spec_from_file_location(name, __file__.rpartition("/")[0] + "/matplotlib_to_file.py")
        if name != "PIL.ImageShow":
            return None
        for finder in sys.meta_path:
            if finder is not FindForSlots and (spec := finder.find_spec(name, path, target)) is not None:
                load = spec.loader.exec_module

                def exec_module(module):
                    load(module)
                    add_viewer(module)

                spec.loader.exec_module = exec_module
                return spec
        return None

    @staticmethod
    def save_as(stem, save):
        """Calls `save` with the first of stem.png, stem-2.png, … that does not exist in the workspace."""
        import os

        number, path = 1, f"/workspace/{stem}.png"
        while True:
            try:
                # Atomic, because another process of the program may search for a name at the same time.
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
                break
            except FileExistsError:
                number += 1
                path = f"/workspace/{stem}-{number}.png"
        try:
            save(path)
        except BaseException:
            os.unlink(path)
            raise


def add_viewer(image_show):
    class Saver(image_show.Viewer):
        def show(self, image, **options):
            FindForSlots.save_as("image", lambda path: image.save(path, format="PNG"))
            return 1

    image_show.register(Saver, 0)


def find_kept_bytecode():
    """Has Python look for bytecode here if none lies beside the source. Python itself decides whether it is valid. The visible alternative,
    `sys.pycache_prefix`, would leave out the bytecode beside the source."""
    import _frozen_importlib_external as external

    here, plain = __file__.rpartition("/site/")[0] + "/bytecode", external.FileLoader.get_data

    def get_data(self, path):
        try:
            return plain(self, path)
        except FileNotFoundError:
            if type(path) is str and path.startswith("/") and path.endswith(".pyc") and "/site-packages/" in path:
                try:
                    return plain(self, here + path)
                except OSError:
                    pass
            raise

    # So that tracebacks leave it out, as they do the rest of the import system.
    get_data.__code__ = get_data.__code__.replace(co_filename=plain.__code__.co_filename)

    for name in ("__module__", "__qualname__", "__doc__"):
        setattr(get_data, name, getattr(plain, name))
    external.FileLoader.get_data = get_data


def step_aside():
    """Removes this directory from the module path, and imports the `sitecustomize` that would have been found without it."""
    here = __file__.rpartition("/")[0]
    sys.path[:] = [path for path in sys.path if path != here]
    own = sys.modules.pop("sitecustomize")
    try:
        import sitecustomize  # noqa: F401
    except ImportError as error:
        if error.name != "sitecustomize":
            raise
        sys.modules["sitecustomize"] = own


sys.meta_path.insert(0, FindForSlots)
find_kept_bytecode()
step_aside()
