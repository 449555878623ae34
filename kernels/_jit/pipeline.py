"""Numba's compiler as kernels go through it: what it leaves out, and what it optimizes together.

All of this stands on the inside of Numba's compiler.
"""

import functools
from typing import ClassVar

from llvmlite.binding import Linkage
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import Compiler, Flags
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.typed_passes import InlineOverloads, NativeLowering, NopythonRewrites
from numba.core.untyped_passes import InlineClosureLikes, InlineInlinables, WithLifting

# Functions whose loops are to be vectorized.
loops = set()


class _WholeLibrary(JITCodeLibrary):
    """The code of a kernel, or of a loop, that is optimized as a whole, once.

    Numba would optimize each function, then all of them cheaply, to find pairs of reference
    counts to remove, which kernels have few of, and then all of them again.
    """

    effort: ClassVar[dict] = {}

    def _optimize_functions(self, module):
        pass

    def _optimize_final_module(self):
        manager, builder = self._codegen._module_pass_manager(**self.effort)
        manager.run(self._final_module, builder)


class _WorkerLibrary(_WholeLibrary):
    """The code of a worker, whose loops and tiles are optimized already: the rest calls them."""

    effort: ClassVar[dict] = {"opt": 1, "loop_vectorize": False}


class _LoopLibrary(_WholeLibrary):
    """The code of a loop: it becomes machine code as part of the kernels that call it."""

    def _finalize_final_module(self):
        self._finalized = True


class _PartLibrary(_WholeLibrary):
    """The intermediate code of a function that only other kernels call.

    Numba would link the code of all callees into each function on the way to an entry, and
    optimize all of it there again. A part keeps to itself until a whole kernel asks for it.
    """

    def finalize(self):
        self._raise_if_finalized()

    def _get_module_for_linking(self):
        if self._shared_module is None:
            module = self._own_module().clone()
            for library in self._callees():
                own = isinstance(library, _PartLibrary)
                found = library._own_module() if own else library._get_module_for_linking()
                module.link_in(found, preserve=True)
            self._shared_module = module
        return self._shared_module

    def _own_module(self):
        module = self._final_module
        for function in module.functions:
            if not function.is_declaration and function.linkage == Linkage.external:
                function.linkage = "linkonce_odr"
        return module

    def _callees(self):
        """Libraries of all that is called from here, directly or not, each once."""
        found, waiting = {}, list(self._linking_libraries)
        while waiting:
            library = waiting.pop()
            if library not in found:
                found[library] = None
                if isinstance(library, _PartLibrary):
                    waiting += library._linking_libraries
        return found


@functools.cache
def _has_references(models, kind):
    """Whether values of a Numba type hold memory whose references are counted."""
    return models[kind].contains_nrt_meminfo()


class _Lower(Lower):
    """Numba's step from types to intermediate code, without what does nothing in kernels.

    Numba takes every tuple apart wherever it appears or goes, in search of references to count, and
    overwrites with zeros what goes.
    """

    def incref(self, typ, val):
        if _has_references(self.context.data_model_manager, typ):
            super().incref(typ, val)

    def decref(self, typ, val):
        if _has_references(self.context.data_model_manager, typ):
            super().decref(typ, val)

    def delvar(self, name):
        if _has_references(self.context.data_model_manager, self.typeof(name)):
            super().delvar(name)


class _Lowering(NativeLowering):
    """Numba's pass that lowers a function, by a `_Lower`."""

    lowering_class = _Lower


@register_pass(mutates_CFG=True, analysis_only=False)
class _PartLowering(_Lowering):
    """Lowers a function that only other kernels call: to LLVM's intermediate code, no further.

    Numba would optimize every function on the way to an entry, turn it into machine code of its
    own with wrappers for Python and C, and never run it: half the time of a cold start.
    """

    _name = "fastmlp_part_lowering"

    def run_pass(self, state):
        state.flags.no_compile = True
        state.flags.no_cpython_wrapper = True
        state.flags.no_cfunc_wrapper = True
        # Loops vectorize only in a function of their own, which is optimized right here.
        library = _LoopLibrary if state.func_id.func in loops else _PartLibrary
        state.library = library(state.targetctx.codegen(), state.func_id.func_qualname)
        super().run_pass(state)
        if not state.flags.forceinline:
            # One huge function would take the compiler longer than its pieces.
            name = state["cr"].fndesc.llvm_func_name
            state.library._final_module.get_function(name).add_function_attribute("noinline")
        # Numba files a function's code under its callable, which has to be a builtin of its own.
        placeholder = [].append
        lowered = state["cr"]
        state.targetctx.insert_user_function(placeholder, lowered.fndesc, [state.library])
        state["cr"] = lowered._replace(cfunc=placeholder)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class _WholeLowering(_Lowering):
    """Lowers a kernel to a `_WholeLibrary`."""

    _name = "fastmlp_whole_lowering"
    library = _WholeLibrary

    def run_pass(self, state):
        state.library = self.library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class _WorkerLowering(_WholeLowering):
    """Lowers a worker to a `_WorkerLibrary`."""

    _name = "fastmlp_worker_lowering"
    library = _WorkerLibrary


class _Flags(Flags):
    """Numba's flags, which it compares whenever it looks for a function, in less time."""

    __slots__ = ()
    _defaults: ClassVar[dict] = {name: option.default for name, option in Flags.options.items()}
    _hash = hash(tuple(sorted(Flags.options)))  # what Numba makes of them

    def __hash__(self):
        return self._hash

    def values(self):
        return self._defaults | self._values


# Numba's searches for what kernels have none of: expressions of whole arrays, closures and
# comprehensions, `with` statements, functions to be inlined before types are known.
_NOT_NEEDED = (NopythonRewrites, InlineClosureLikes, InlineInlinables, InlineOverloads, WithLifting)


class EntryCompiler(Compiler):
    """Numba's compiler, with `lowering` for its last step and without what is `_NOT_NEEDED`."""

    lowering = _WholeLowering

    def __init__(self, typingctx, targetctx, library, args, return_type, flags, locals):
        super().__init__(typingctx, targetctx, library, args, return_type, _Flags(flags), locals)

    def define_pipelines(self):
        pipelines = super().define_pipelines()
        for pipeline in pipelines:
            pipeline.passes = [
                (self.lowering if step is NativeLowering else step, description)
                for step, description in pipeline.passes
                if step not in _NOT_NEEDED
            ]
        return pipelines


class WorkerCompiler(EntryCompiler):
    """Numba's compiler, with `_WorkerLowering` for its last step."""

    lowering = _WorkerLowering


class PartCompiler(EntryCompiler):
    """Numba's compiler, with `_PartLowering` for its last step."""

    lowering = _PartLowering
