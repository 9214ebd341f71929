"""What is said of an ATen op that nothing here computes: what the user wrote, why not, and what would do instead."""

from __future__ import annotations

from tritoncnn.capture.selecting import STAND_INS

SIZE = "whose size depends on data"
KEEP = "keep the tensor of one element, as in queue[(at + torch.arange(n)) % size] = x"
WHERE = "torch.where computes both ways, a product with a mask keeps the shape"
MASK = f"{WHERE}; a mask that is made of numbers in forward, as by torch.eye, selects a known number of places"
COMPLEX = "complex numbers are not computed in"
FACTORS = "a matrix is not factorised; what no trained parameter enters, torch can compute beforehand and hand in"
WHY = {  # ATen op, without its overload where all of them are meant
    "masked_select": f"masked_select, {SIZE}; use torch.where or a product with the mask",
    "nonzero": f"nonzero, {SIZE}",
    "nonzero_numpy": f"nonzero, {SIZE}",
    "_assert_async": "an assertion about numbers of tensors, which a plan cannot end by; make it before the call",
    "argwhere": f"argwhere, {SIZE}",
    "item": f"item(), a number that depends on data: {KEEP}",
    "_local_scalar_dense": f"item(), a number that depends on data: {KEEP}",
    "_unique2": f"unique, {SIZE}",
    "unique_dim": f"unique, {SIZE}",
    "unique_consecutive": f"unique_consecutive, {SIZE}",
    "bincount": f"bincount, {SIZE}; F.one_hot(x, classes).sum(0) counts with a fixed one",
    "where.default": f"where of a mask alone, {SIZE}",
    "repeat_interleave.self_Tensor": f"repeat_interleave with counts in a tensor, {SIZE}; one number has a fixed one",
    "repeat_interleave.Tensor": f"repeat_interleave with counts in a tensor, {SIZE}; one number has a fixed one",
    **{
        name: f"{name}; a comparison with the edges of the bins, summed, counts the same"
        for name in ("histc", "histogram")
    },
    "_pack_padded_sequence": f"a packed sequence, {SIZE}; keep it padded, and multiply what lies behind its end by 0",
    "_pad_packed_sequence": f"a packed sequence, {SIZE}; keep it padded, and multiply what lies behind its end by 0",
    "mode": "mode; (x.unsqueeze(-1) == x.unsqueeze(-2)).sum(-1) counts how often each value comes, argmax finds the place",
    "frexp": "frexp; torch.floor(torch.log2(x.abs())) + 1 is the exponent, x / 2**exponent the mantissa",
    "special_ndtri": "ndtri; 2**0.5 * torch.erfinv(2 * p - 1) is the same",
    "special_erfcx": "erfcx; torch.exp(x * x) * torch.erfc(x) is the same for x below 9",
    "special_log_ndtr": "log_ndtr; torch.log(torch.special.ndtr(x)) is the same for x from -12 to 4",
    **{
        name: f"random numbers by {name.strip('_')}; draw normal or uniform ones, or hand the numbers in"
        for name in ("poisson", "_standard_gamma", "_sample_dirichlet", "binomial")
    },
    **{
        f"fractional_max_pool{d}d": f"fractional_max_pool{d}d, whose windows are random; use adaptive_max_pool{d}d"
        for d in (2, 3)
    },
    **{
        name: f"{name.strip('_')}; sparse tensors are not computed with, dense ones are"
        for name in ("to_sparse", "_to_sparse", "to_dense", "_to_dense", "sparse_coo_tensor", "_sparse_mm")
    },
    "float_power": "float_power, which computes in f64; use torch.pow",
    "embedding_renorm": "an embedding with max_norm, which changes its weight when called; normalise the rows that it gives",
    "_add_batch_dim": "torch.vmap; let the batch be a dim of the tensors",
    "_remove_batch_dim": "torch.vmap; let the batch be a dim of the tensors",
    "stft": f"stft: {COMPLEX}; conv1d with cosines and with sines times the window as filters gives both of its parts",
    "istft": f"istft: {COMPLEX}; conv_transpose1d with cosines and sines as filters does it for both parts",
    **{
        name: f"{name}: {COMPLEX}; keep real and imaginary parts in tensors of their own"
        for name in ("view_as_complex", "view_as_real", "complex", "polar", "real", "imag", "conj", "_conj")
    },
    "cond": "control flow inside the model (torch.cond)",
    "while_loop": "control flow inside the model (while_loop)",
    "map_impl": "control flow inside the model (map)",
    "scan": "control flow inside the model (scan)",
    "associative_scan": "control flow inside the model (associative_scan)",
}
FACTORISED = frozenset({
    "cholesky", "linalg_cholesky", "linalg_cholesky_ex", "cholesky_solve", "linalg_qr", "qr", "linalg_householder_product",
    "linalg_svd", "linalg_svdvals", "svd", "_linalg_svd", "linalg_eigh", "linalg_eigvalsh", "linalg_eig", "linalg_eigvals",
    "linalg_inv", "linalg_inv_ex", "inverse", "linalg_pinv", "pinverse", "linalg_solve", "linalg_solve_ex", "linalg_lstsq",
    "linalg_solve_triangular", "triangular_solve", "linalg_det", "det", "linalg_slogdet", "slogdet", "logdet", "linalg_lu",
    "linalg_lu_factor", "linalg_matrix_rank", "linalg_cond", "linalg_matrix_exp", "matrix_exp",
})  # fmt: skip


HANDED = "has no formula here; what no gradient passes, torch can compute beforehand and hand in"


def gap(name: str) -> str:
    """What an error says of the ATen op ``name``, such as nonzero.default."""
    plain = name.split(".")[0]
    if plain in FACTORISED:
        return f"{plain}: {FACTORS}"
    if name.endswith("generator"):
        return f"{plain} by a generator of its own: random numbers follow from a seed of ours; leave the generator out"
    if plain.startswith("fft_"):
        return f"{plain}: {COMPLEX}; a product with matrices of cosines and of sines gives both parts"
    if "_polynomial_" in plain:
        return f"{plain.removeprefix('special_')}; write the polynomial of a fixed degree with its coefficients"
    if (plain.startswith("special_") or plain in ("igamma", "igammac", "gcd", "lcm")) and plain not in WHY:
        return f"{plain.removeprefix('special_')}, which {HANDED}"
    return WHY.get(name) or WHY.get(plain, name.removesuffix(".default"))


def untraced(error: Exception, read: str, differentiated: bool) -> str:
    """What is said of a call that torch cannot trace.

    read            what in it has read a number out of a tensor, in words, or ""
    differentiated  gradients were taken in it
    """
    text = f"{type(error).__name__} {error}".lower()
    selected = any(str(size) in text for size in STAND_INS)
    if selected or any(word in text for word in ("data-dependent", "datadependent", "unbacked", "symint")):
        if read:
            return f"{read} reads a number out of a tensor, which data decide: {KEEP}"
        return f"its control flow or shapes depend on data; {MASK if selected else WHERE}"
    if differentiated:
        return "torch.export cannot follow the gradients that it takes inside; tritoncnn.compile_grad gives gradients"
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
