"""Every kernel of the contract, in each implementation, at several sizes, in both dtypes: the time of one call."""

from jitprop_kernels.contract import KERNELS

from . import workloads
from .timing import Timed as _Timed
from .workloads import DTYPES, IMPLEMENTATIONS, SIZES


class _Kernel(_Timed):
    kernel = ""
    param_names = ["implementation", "size", "dtype"]

    def prepare(self, implementation, size, dtype):
        workloads.skip_slow(implementation, workloads.work(self.kernel, size).steps)
        workloads.check_kernel(implementation, self.kernel, size, dtype)
        function = getattr(workloads.kernel_set(implementation), self.kernel)
        arguments = workloads.arguments(self.kernel, size, dtype, workloads.STAYS)
        return lambda: function(*arguments)

    def time_call(self, implementation, size, dtype):
        self.call()


# One class a kernel, so that the page has a plot for each, named like the kernel.
for _name in KERNELS:
    globals()[_name] = type(
        _name,
        (_Kernel,),
        {
            "__module__": __name__,
            "__doc__": f"One call of `{_name}`.",
            "kernel": _name,
            "pretty_name": f"{_name}: one call",
            "params": [list(IMPLEMENTATIONS), workloads.chosen(SIZES[_name]), workloads.chosen(DTYPES)],
        },
    )
