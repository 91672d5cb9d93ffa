"""Random NumPy programs on exotic operands, plain NumPy against tracegrad: `python -m tracegrad.testing.fuzz --plain`.

A `Case` is drawn by one number: operands of every dtype, as Python's, NumPy's scalars and arrays of every memory layout, with
zeros of both signs, infinities and NaN among their elements, and a few lines of NumPy on them, under any variable names. What
plain NumPy makes of it is the truth. A traced function, a jitted one, one on XLA and one under vmap must give the same, or
say that they do not take it; its two derivatives must agree, and be those of differences where these exist.

Where they differ, plain NumPy is asked again, since not all that it gives is told by the program alone:

- A value without axes is a number to a traced function (README). Where NumPy makes something else of an array without
  axes than of the number in it, either is right.
- NumPy has several ways to the same. The program is run once more on others (`OtherWays`), and no element is compared on
  which these disagree with the program itself; so every element is compared that NumPy gives in one way only. Products
  are added up by BLAS, by einsum's loops, by ufuncs: these do not agree on infinity times a complex number, on zero
  times infinity (BLAS leaves out what is multiplied by zero) and on the sign of a sum of zeros. Integers
  of which it takes the mean are cast as they are added up, or all of them before; where they are too large for float64, their
  sums are rounded, and the variance of equal ones is what is left of that. `ufunc.at` makes an int64 of Python's numbers, beside
  which uint64 are computed with as float64. Of equal elements, `np.argsort` may have any first. A NaN has either sign. An infinite or too large number as an integer is whatever the
  processor has for it, and so is `np.reciprocal` of an integer zero. NumPy's scalars do not compare complex NaN, nor raise
  infinities to powers, as its arrays do. `np.clip` is not quite the `np.minimum` of `np.maximum` that its documentation
  calls it: for zeros of both signs, and NaN of complex numbers.
- XLA's complex functions of infinities are C's, NumPy's are not; and what overflows or underflows on the way in NumPy may
  not on XLA, which writes log(x**y) as y * log(x), and sqrt(x*x) as abs(x). Its gammaln is rounded as numbers near one are.
  On XLA no element is compared that is another
  one with other numbers in the place of complex ones, and of those on the way, that are not finite, or with zeros for
  subnormal numbers (`within_range`), or in numbers with more room for exponents (`in_wide_numbers`). `OnXla` has the rest.
- Python's numbers leave their kind: (-0.25) ** 0.5 is complex, 2 ** -3 a float, (2**40) ** 2 no int64. A traced number is
  of one dtype.
- What differs by rounding alone is not wrong. NumPy computes once more with noise in the last places of all that each
  line reads (`noisy_results`); by as much as that changes an element, others may differ that need not be the same to the bit.
- What nothing reads is not computed by a jitted function, be it that NumPy would have raised there. Then the result must
  be what the rest of the program makes of any other value in its place.
"""

from tracegrad.testing.plain.check import check_case as check_case
from tracegrad.testing.plain.programs import Case as Case
