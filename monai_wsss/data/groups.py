"""Join the several names of one person."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components


def join_groups(pairs: Iterable[tuple[str, str | None]]) -> dict[str, str]:
    """Return patient -> the first name, in alphabetical order, of all that are linked to it by shared group values.

    Patients that share a value are one person, and so are those linked through others (A and B share x, B and C y).

    Args:
        pairs: (patient, group value); an empty value or None links nothing. A group value that looks like a patient's
            name is no patient.
    """
    pairs = [(patient, group or None) for patient, group in pairs]
    patients = sorted({patient for patient, _ in pairs})
    groups = sorted({group for _, group in pairs if group is not None})
    node = {patient: index for index, patient in enumerate(patients)}
    group_node = {group: len(node) + index for index, group in enumerate(groups)}
    size = len(node) + len(group_node)
    if not size:
        return {}
    links = np.array([(node[patient], group_node[group]) for patient, group in pairs if group is not None], dtype=int)
    rows, columns = links.reshape(-1, 2).T
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, columns)), shape=(size, size))
    component = connected_components(graph, directed=False)[1]
    first: dict[int, str] = {}
    return {patient: first.setdefault(int(component[index]), patient) for patient, index in node.items()}
