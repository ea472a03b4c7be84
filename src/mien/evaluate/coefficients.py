"""Coefficients of agreement for nominal labels, from sums over clusters of moments."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

NOT_DEFINED = float("nan")


def cohen_kappa(table_kk: NDArray[np.float64]) -> float:
    """Return Cohen's kappa of a confusion matrix (Cohen 1960, Educ. Psychol. Meas. 20).

    Args:
        table_kk: float64 [k, k], moments by both coders' labels.

    Returns:
        1 for full agreement, 0 for what chance gives; nan where both coders use one label only.
    """
    total = table_kk.sum()
    if not total:
        return NOT_DEFINED
    observed = np.trace(table_kk) / total
    expected = float(table_kk.sum(axis=1) @ table_kk.sum(axis=0)) / total**2
    return float((observed - expected) / (1 - expected)) if expected < 1 else NOT_DEFINED


def specific_agreement(table_kk: NDArray[np.float64], label: int) -> float:
    """Return 2 a / (n1 + n2): a moments with the label by both, n1 and n2 by each coder.

    Cicchetti and Feinstein 1990, J. Clin. Epidemiol. 43. nan where no coder uses the label.
    """
    used = table_kk[label].sum() + table_kk[:, label].sum()
    return float(2 * table_kk[label, label] / used) if used else NOT_DEFINED


def coincidences(
    numbers_nc: NDArray[np.int64], k: int, clusters_n: NDArray[np.int64], clusters: int
) -> NDArray[np.float64]:
    """Return Krippendorff's coincidence matrix for each cluster, float64 [clusters, k, k].

    Args:
        numbers_nc: int64 [n, c], label of each moment by each coder; negative where not coded.
        k: number of labels.
        clusters_n: int64 [n], the cluster of each moment.
        clusters: their number.
    """
    counts = _counts(numbers_nc, k)
    m = counts.sum(axis=1)
    # A moment with one coder only has no pair to agree.
    paired = m >= 2
    counts, m = counts[paired], m[paired]
    pairs = counts[:, :, None] * counts[:, None, :]
    diagonal = np.arange(k)
    pairs[:, diagonal, diagonal] -= counts
    pairs /= (m - 1)[:, None, None]
    return _sums(pairs, clusters_n[paired], clusters)


def krippendorff_alpha(table_kk: NDArray[np.float64]) -> float:
    """Return Krippendorff's alpha for nominal data of a coincidence matrix (2004, chapter 11).

    Coders may have coded different moments. nan where only one label is used.
    """
    n = table_kk.sum()
    sums = table_kk.sum(axis=1)
    expected = n**2 - float(sums @ sums)
    if n < 2 or expected <= 0:
        return NOT_DEFINED
    disagreement = n - np.trace(table_kk)
    return float(1 - (n - 1) * disagreement / expected)


def rater_pairs(
    numbers_nc: NDArray[np.int64], k: int, clusters_n: NDArray[np.int64], clusters: int
) -> NDArray[np.float64]:
    """Return what Fleiss' kappa needs for each cluster, float64 [clusters, k + 2].

    The labels' counts over moments that all coders coded, the moments' summed agreement
    (fraction of agreeing pairs of coders), and the number of moments.
    """
    counts = _counts(numbers_nc, k)
    coders = numbers_nc.shape[1]
    full = counts.sum(axis=1) == coders
    counts = counts[full]
    agreement = ((counts**2).sum(axis=1) - coders) / (coders * (coders - 1))
    terms = np.column_stack([counts, agreement, np.ones(len(counts))])
    return _sums(terms, clusters_n[full], clusters)


def fleiss_kappa(sums: NDArray[np.float64]) -> float:
    """Return Fleiss' kappa of summed `rater_pairs` (Fleiss 1971, Psychol. Bull. 76)."""
    moments = sums[-1]
    if not moments:
        return NOT_DEFINED
    fractions = sums[:-2] / sums[:-2].sum()
    observed, expected = sums[-2] / moments, float(fractions @ fractions)
    return float((observed - expected) / (1 - expected)) if expected < 1 else NOT_DEFINED


def _counts(numbers_nc: NDArray[np.int64], k: int) -> NDArray[np.float64]:
    """Return how many coders give each label at each moment, float64 [n, k]."""
    given = numbers_nc[:, :, None] == np.arange(k)
    counts: NDArray[np.float64] = given.sum(axis=1, dtype=np.float64)
    return counts


def _sums(
    terms: NDArray[np.float64], clusters_n: NDArray[np.int64], clusters: int
) -> NDArray[np.float64]:
    sums: NDArray[np.float64] = np.zeros((clusters, *terms.shape[1:]))
    np.add.at(sums, clusters_n, terms)
    return sums
