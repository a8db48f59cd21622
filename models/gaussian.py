"""One multivariate Gaussian at each patch position (Defard et al. 2020, section 3.2).

Everything is batched over positions, in blocks whose matrices fit the processor's cache. The
blocks are shared out to threads; BLAS itself gets one thread each, because its own threads wait
for each other at every small matrix, for seconds where another program has one of the cores.
"""

import functools
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from threadpoolctl import ThreadpoolController

from models.device import cpu_threads

BLOCK_ELEMENTS = 2**20  # elements of the d×d matrices in one block of positions: 4 MB


class PatchGaussian:
    """Streaming mean and covariance at `positions` places, for vectors of `dims` numbers.

    Memory is positions · dims² floats, however many pictures are seen: the scatter matrices
    are inverted in place.

    Attributes
    ----------
    n : int, pictures seen
    mean : float32 [P,d]
    scatter : float32 [P,d,d], sum of centred outer products; None once finalized
    precision : float32 [P,d,d], inverse covariance; None until finalized
    """

    def __init__(self, positions: int, dims: int, epsilon: float = 0.01):
        self.epsilon = epsilon
        self.n = 0
        self.mean = np.zeros((positions, dims), np.float32)
        self.scatter = np.zeros((positions, dims, dims), np.float32)
        self.precision = None

    @classmethod
    def from_arrays(cls, n: int, mean, precision) -> "PatchGaussian":
        """A finalized Gaussian from its parts: mean [P,d] and precision [P,d,d], float32."""
        gaussian = cls(0, 0)
        gaussian.n, gaussian.mean, gaussian.precision = n, mean, precision
        gaussian.scatter = None
        return gaussian

    def update(self, embedding: np.ndarray) -> None:
        """Take in embeddings [B,P,d], float32, each picture once.

        Chan, Golub and LeVeque (1979): the batch is centred on its own mean, and the shift
        between the two means enters as one more row, so that a block costs one product.
        """
        b = len(embedding)
        if b == 0:
            return
        total = self.n + b
        weight = np.float32(np.sqrt(self.n * b / total))

        def add(block: slice) -> None:
            x = embedding[:, block].transpose(1, 0, 2)
            batch_mean = x.mean(axis=1)
            delta = batch_mean - self.mean[block]
            rows = np.empty((len(x), b + 1, x.shape[2]), np.float32)
            np.subtract(x, batch_mean[:, None], out=rows[:, :b])
            np.multiply(delta, weight, out=rows[:, b])
            self.scatter[block] += rows.transpose(0, 2, 1) @ rows
            self.mean[block] += delta * np.float32(b / total)

        self._each_block(add)
        self.n = total

    def merge(self, other: "PatchGaussian") -> None:
        """Take in all that `other`, not finalized either, has seen (same formula as `update`)."""
        total = self.n + other.n
        if other.n == 0:
            return
        weight = np.float32(np.sqrt(self.n * other.n / total))

        def add(block: slice) -> None:
            delta = other.mean[block] - self.mean[block]
            shift = delta * weight
            self.scatter[block] += other.scatter[block] + shift[:, :, None] * shift[:, None]
            self.mean[block] += delta * np.float32(other.n / total)

        self._each_block(add)
        self.n = total

    def finalize(self) -> None:
        """Turn scatter into precision: Σ = scatter/(n−1) + ε I, inverted by Cholesky, in place.

        Raises ValueError with fewer than two pictures (no covariance) and
        FloatingPointError where embeddings were not finite.
        """
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 pictures, there were {self.n}")
        if not np.isfinite(self.mean).all():
            raise FloatingPointError("the embeddings hold values that are not finite")
        ridge = np.float32(self.epsilon) * np.eye(self.mean.shape[1], dtype=np.float32)

        def invert(block: slice) -> None:
            covariance = self.scatter[block] / np.float32(self.n - 1) + ridge
            whitening = invert_lower(np.linalg.cholesky(covariance))
            np.matmul(whitening.transpose(0, 2, 1), whitening, out=self.scatter[block])

        self._each_block(invert)
        self.precision, self.scatter = self.scatter, None

    def mahalanobis(self, embedding: np.ndarray) -> np.ndarray:
        """Distances sqrt((x−mean)ᵀ precision (x−mean)): [B,P,d] float32 → [B,P] float32."""
        distance = np.empty(embedding.shape[:2], np.float32)

        def measure(block: slice) -> None:
            x = embedding[:, block].transpose(1, 0, 2) - self.mean[block][:, None]
            distance[:, block] = np.einsum("pbd,pbd->bp", x @ self.precision[block], x)

        self._each_block(measure)
        # Rounding may leave −1e-7 where a patch lies on its mean.
        return np.sqrt(np.maximum(distance, 0, out=distance), out=distance)

    def _each_block(self, work: Callable[[slice], None]) -> None:
        positions, dims = self.mean.shape
        step = max(1, BLOCK_ELEMENTS // max(1, dims * dims))
        blocks = [slice(i, i + step) for i in range(0, positions, step)]
        with _blas().limit(limits=1, user_api="blas"):
            list(_pool().map(work, blocks))


@functools.cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(cpu_threads(), thread_name_prefix="gaussian")


@functools.cache
def _blas() -> ThreadpoolController:
    return ThreadpoolController()  # looks through all loaded libraries, so once only


def invert_lower(factor: np.ndarray, base: int = 32) -> np.ndarray:
    """Inverse of lower triangular matrices [N,d,d], by halves.

    [[A,0],[B,C]]⁻¹ = [[A⁻¹,0],[−C⁻¹BA⁻¹,C⁻¹]]: most of the work becomes matrix products,
    twice as fast at d = 100 as the general inverse, which cannot use the zeros.
    """
    d = factor.shape[-1]
    if d <= base:
        return np.linalg.inv(factor)
    k = d // 2
    inverse = np.zeros_like(factor)
    inverse[:, :k, :k] = invert_lower(factor[:, :k, :k], base)
    inverse[:, k:, k:] = invert_lower(factor[:, k:, k:], base)
    inverse[:, k:, :k] = -(inverse[:, k:, k:] @ factor[:, k:, :k]) @ inverse[:, :k, :k]
    return inverse
