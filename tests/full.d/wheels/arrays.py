# %% numpy==2.4.6 (20)
import numpy
print(numpy.linalg.solve([[3.0, 1], [1, 2]], [9, 8]).round(6), numpy.fft.fft([1, 2, 3, 4]).round(6))
print(numpy.random.default_rng(7).integers(100, size=5))

# %% scipy==1.17.1 (95)
import scipy.integrate, scipy.optimize, scipy.sparse, scipy.spatial, scipy.special
print(round(scipy.integrate.quad(lambda x: x**2, 0, 3)[0], 6), scipy.special.gamma(5))
print(scipy.optimize.linprog([-1, -2], [[1, 1]], [4], bounds=[(0, 3), (0, 3)]).x.round(6))
print(scipy.spatial.cKDTree([[0, 0], [1, 1], [5, 5]]).query([4, 4]), scipy.sparse.eye(3).tocsr().nnz)

# %% contourpy==1.3.3 (192)
import contourpy
print(contourpy.contour_generator(z=[[0, 1], [2, 3]]).lines(1.5))

# %% kiwisolver==1.5.1 (186)
import kiwisolver
x, y = kiwisolver.Variable('x'), kiwisolver.Variable('y')
solver = kiwisolver.Solver()
for constraint in (x + y == 10, x >= 2 * y, y >= 3):
    solver.addConstraint(constraint)
solver.updateVariables()
print(round(x.value(), 6), round(y.value(), 6))

# %% numba==0.68.1 (446)
import numba
@numba.njit
def total(count):
    result = 0
    for number in range(count):
        result += number * number
    return result
print(total(1000), len(total.signatures))

# %% llvmlite==0.50.0 (448)
import llvmlite.binding as llvm
llvm.initialize_native_target()
llvm.initialize_native_asmprinter()
import ctypes
module = llvm.parse_assembly('define i32 @double(i32 %x) {\n  %y = mul i32 %x, 2\n  ret i32 %y\n}')
engine = llvm.create_mcjit_compiler(module, llvm.Target.from_default_triple().create_target_machine())
engine.finalize_object()
print(ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(engine.get_function_address('double'))(21))

# %% ml-dtypes==0.6.0 (681)
import ml_dtypes, numpy
print(numpy.array([1.2345, 3e38], dtype=ml_dtypes.bfloat16), ml_dtypes.finfo(ml_dtypes.float8_e4m3fn).max)

# %% numexpr==2.14.2 (1115)
import numexpr, numpy
a = numpy.arange(100_000.0)
print(numexpr.evaluate('sum(a * 2 + sin(a) * 0)'))

# %% bottleneck==1.6.0 (1450)
import bottleneck, numpy
print(bottleneck.nanmean(numpy.array([1, numpy.nan, 3])), bottleneck.move_sum(numpy.arange(5.0), 2))

# %% pywavelets==1.9.0 (1219)
import pywt
print([part.round(6).tolist() for part in pywt.dwt([1, 2, 3, 4], 'db1')])

# %% blosc2==4.14.1 (2035)
import blosc2
data = bytes(range(256)) * 1000
print(blosc2.decompress(blosc2.compress(data)) == data)
array = blosc2.asarray(__import__('numpy').arange(1000))
print(array[10:13], array.shape)

# %% numcodecs==0.16.6 (1754)
import numcodecs, numpy
codec = numcodecs.Blosc(cname='zstd', shuffle=numcodecs.Blosc.SHUFFLE)
data = numpy.arange(10_000)
print((numpy.frombuffer(codec.decode(codec.encode(data)), data.dtype) == data).all())

# %% zarr==3.1.6 (1273)
import zarr
array = zarr.create_array(store='example.zarr', shape=(100, 100), chunks=(10, 10), dtype='i4', overwrite=True)
array[5, :] = 7
print(int(array[:].sum()), sorted(__import__('os').listdir('example.zarr'))[-1])

# %% sparse==0.19.3 (4133)
import sparse
print(sparse.random((50, 50), density=0.1, random_state=1).nnz, (sparse.eye(3) @ sparse.eye(3)).todense().tolist())

# %% awkward==2.14.0 (4295)
import awkward
array = awkward.Array([[1, 2], [], [3]])
print(awkward.sum(array, axis=1).tolist(), awkward.flatten(array).tolist())

# %% boost-histogram==1.8.1 (2927)
import boost_histogram
histogram = boost_histogram.Histogram(boost_histogram.axis.Regular(4, 0, 1))
histogram.fill([0.1, 0.2, 0.3, 0.9])
print(histogram.values().tolist())

# %% optree==0.20.0 (1289)
import optree
print(optree.tree_map(lambda x: x + 1, {'b': [1, 2], 'a': (3, None)}))

# %% dm-tree==0.1.10 (2028)
import tree
print(tree.map_structure(lambda x: x * 2, {'a': [1, (2, 3)]}))

# %% pyroaring==1.2.0 (638)
import pyroaring
print(len(pyroaring.BitMap(range(1000)) & pyroaring.BitMap(range(500, 2000))))

# %% bitarray==3.12.3 (863)
import bitarray
bits = bitarray.bitarray('10110')
print(bits.count(), (bits ^ bitarray.bitarray('11111')).to01())

# %% gmpy2==2.3.2 (6350)
import gmpy2
print(gmpy2.next_prime(10**20), gmpy2.mpz(2) ** 100)

# %% soxr==1.1.0 (1291)
import numpy, soxr
print(soxr.resample(numpy.ones(1000, 'float32'), 48000, 24000).shape)

# %% jax==0.10.2 (909)
import jax, jax.numpy
print(jax.grad(lambda x: jax.numpy.sin(x) * x)(1.0).round(4), jax.jit(lambda x: x @ x)(jax.numpy.ones((3, 3))).sum())

# %% astropy==8.0.2 (1931)
import astropy.coordinates, astropy.time, astropy.units
print(astropy.time.Time('2020-01-01', scale='tt').jd)
print(astropy.coordinates.SkyCoord(10, 20, unit='deg').galactic.l.deg.round(4))

# %% pyerfa==2.0.1.5 (1952)
import erfa
print(erfa.cal2jd(2020, 1, 1))

# %% healpy==1.20.1 (4640)
import healpy
print(healpy.ang2pix(64, 1.0, 2.0), healpy.nside2npix(64))

# %% iminuit==2.33.0 (9810)
import iminuit
print([round(value, 3) for value in iminuit.Minuit(lambda x, y: (x - 1) ** 2 + (y + 2) ** 2, 0, 0).migrad().values])
