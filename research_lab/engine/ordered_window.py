"""The last n known values as a search tree, O(log n) a bar: what is counted and summed on one side of a value.

The window is a treap: a search tree by value, a heap by priority. Nodes are the places of the ring, and a
node's priority is a hash of its place, so the shape depends on the values seen only and any cut into blocks
gives the same bits. Each node counts and sums the values below it; these are renewed along a path from the
leaves up, never shifted, so nothing drifts. Sums are about a value of the window itself, renewed at each wrap
of the ring, as in `moments`: while all values are equal every sum is exactly 0.

Source: Raimund Seidel and Cecilia Aragon (1996), Randomized Search Trees, Algorithmica 16.
"""

from __future__ import annotations

from typing import Final

from research_lab.engine.jit import FloatArray, inlined_kernel, kernel

# Fields of a node. Node 0 is none: what it counts and sums stays 0.
VALUE: Final = 0
LEFT: Final = 1
RIGHT: Final = 2
PARENT: Final = 3
COUNT: Final = 4
SUM: Final = 5
NODE: Final = 6  # cells of a node

# The other fields of node 0 hold what the window needs: the value that sums are about, the node on top, and the
# values seen.
CENTRE: Final = 0
ROOT: Final = 1
SEEN: Final = 2


@kernel
def enter(state: FloatArray, value: float, n: int) -> float:
    """Put a value into the window, in the place of the oldest once there are n.

    Parameters
    ----------
    state : NODE * (n + 1) cells: node 0, then the nodes by place in the ring.

    Returns
    -------
    float
        How many other values of the window are not above it.
    """
    seen = state[SEEN]
    node = int(seen) % n + 1
    if seen == 0.0:
        state[CENTRE] = value
    if seen >= n:
        _remove(state, node)
    not_above = _insert(state, node, value)
    state[SEEN] = seen + 1.0
    if node == n:
        state[CENTRE] = value
        _renew_all(state)
    return not_above


@inlined_kernel
def _priority(node: int) -> int:
    """Hash a place to a number of its own: odd factors and shifts lose nothing (after splitmix64)."""
    mixed = node * -7046029254386353131
    mixed ^= mixed >> 30
    mixed *= -4658895280553007687
    return mixed ^ (mixed >> 27)


@inlined_kernel
def _renew(state: FloatArray, node: int) -> None:
    """Count and sum a node from its children."""
    cell = NODE * node
    left = NODE * int(state[cell + LEFT])
    right = NODE * int(state[cell + RIGHT])
    state[cell + COUNT] = state[left + COUNT] + 1.0 + state[right + COUNT]
    state[cell + SUM] = state[left + SUM] + (state[cell + VALUE] - state[CENTRE]) + state[right + SUM]


@kernel
def _renew_upwards(state: FloatArray, node: int) -> None:
    while node != 0:
        _renew(state, node)
        node = int(state[NODE * node + PARENT])


@kernel
def _renew_all(state: FloatArray) -> None:
    """Count and sum every node, children first."""
    node = _first_leaf(state, int(state[ROOT]))
    while node != 0:
        _renew(state, node)
        parent = int(state[NODE * node + PARENT])
        other = int(state[NODE * parent + RIGHT]) if parent != 0 else 0
        node = _first_leaf(state, other) if other != 0 and other != node else parent


@kernel
def _first_leaf(state: FloatArray, node: int) -> int:
    while True:
        below = int(state[NODE * node + LEFT])
        if below == 0:
            below = int(state[NODE * node + RIGHT])
        if below == 0:
            return node
        node = below


@kernel
def _insert(state: FloatArray, node: int, value: float) -> float:
    """Hang a node in after its equals, and lift it while its priority is above its parent's."""
    cell = NODE * node
    parent = 0
    side = LEFT
    not_above = 0.0
    below = int(state[ROOT])
    while below != 0:
        parent = below
        side = LEFT
        if value >= state[NODE * parent + VALUE]:
            side = RIGHT
            not_above += state[NODE * int(state[NODE * parent + LEFT]) + COUNT] + 1.0
        below = int(state[NODE * parent + side])
    state[cell + VALUE] = value
    state[cell + LEFT] = 0.0
    state[cell + RIGHT] = 0.0
    state[cell + PARENT] = parent
    if parent == 0:
        state[ROOT] = node
    else:
        state[NODE * parent + side] = node
    priority = _priority(node)
    while parent != 0 and _priority(parent) < priority:
        _lift(state, node, parent)
        _renew(state, parent)
        parent = int(state[cell + PARENT])
    _renew_upwards(state, node)
    return not_above


@kernel
def _remove(state: FloatArray, node: int) -> None:
    """Sink a node until it has one child at most, and let that take its place."""
    cell = NODE * node
    left = int(state[cell + LEFT])
    right = int(state[cell + RIGHT])
    while left != 0 and right != 0:
        _lift(state, left if _priority(left) > _priority(right) else right, node)
        left = int(state[cell + LEFT])
        right = int(state[cell + RIGHT])
    child = left + right
    parent = int(state[cell + PARENT])
    _hang(state, child, parent, node)
    _renew_upwards(state, parent)


@inlined_kernel
def _hang(state: FloatArray, node: int, parent: int, former: int) -> None:
    """Give a parent, or the tree, a node in the place of a former one."""
    if parent == 0:
        state[ROOT] = node
    elif int(state[NODE * parent + LEFT]) == former:
        state[NODE * parent + LEFT] = node
    else:
        state[NODE * parent + RIGHT] = node
    if node != 0:
        state[NODE * node + PARENT] = parent


@kernel
def _lift(state: FloatArray, node: int, parent: int) -> None:
    """Rotate a node over its parent; the caller renews both."""
    top = NODE * node
    low = NODE * parent
    _hang(state, node, int(state[low + PARENT]), parent)
    if int(state[low + LEFT]) == node:
        inner = int(state[top + RIGHT])
        state[low + LEFT] = inner
        state[top + RIGHT] = parent
    else:
        inner = int(state[top + LEFT])
        state[low + RIGHT] = inner
        state[top + LEFT] = parent
    if inner != 0:
        state[NODE * inner + PARENT] = parent
    state[low + PARENT] = node
