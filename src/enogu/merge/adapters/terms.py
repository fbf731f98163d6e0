"""What a formula means for one tensor where adapters come in: absent ones vanish, and DoRA sees its weight."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from enogu.core.records.errors import Refused
from enogu.merge.adapters.adapter import AdapterHeader
from enogu.merge.algebra import Adapted, Applied, Combination, Model, Node


@dataclass(frozen=True)
class Terms:
    """The adapters of a merge by name."""

    adapters: Mapping[str, AdapterHeader]

    @property
    def names(self) -> frozenset[str]:
        """Return the names of the adapters."""
        return frozenset(self.adapters)

    def at(self, combination: Combination, key: str, *, instead: str = "") -> Combination:
        """Return a combination as it is for one tensor.

        Where a policy takes the tensor from the model `instead`, what adapters add is added to that; no terms if
        they add nothing.
        """
        if not self.names & set(combination.models()):
            return combination if not instead else Combination()
        terms: dict[Node, float] = {}
        for node, value in combination.terms:
            if not self._absent(node, key):
                here = self._node(node, key)
                terms[here] = terms.get(here, 0.0) + value
        if instead:
            terms = {node: value for node, value in terms.items() if self._is_adapter(node)}
            if terms:
                terms[Model(instead)] = 1.0
        return self._bent(Combination.of(terms, 0.0 if instead else combination.declared), key)

    def notes(self) -> Iterator[str]:
        """Yield what a maker should know of the files."""
        for name, header in self.adapters.items():
            yield from (f"{name}: {note}" for note in header.coverage.notes())

    def _bent(self, combination: Combination, key: str) -> Combination:
        """Return a combination whose adapters see the weight that the rest of it makes, where they must."""
        bent = [n for n, _ in combination.terms if isinstance(n, Model) and self._bends(n, key)]
        if not bent:
            return combination
        rest = {node: value for node, value in combination.terms if not self._is_adapter(node)}
        weight = Combination.of(rest, combination.declared)
        if not weight.is_weight:
            raise Refused(
                f"{bent[0].name} is a DoRA: what it adds depends on the weight that it is added to, and {combination} "
                f"adds it to none; write BASE + {bent[0].name}"
            )
        seen: dict[Node, Node] = {n: Adapted(n.name, weight, self.adapters[n.name].bends[key]) for n in bent}
        return Combination.of({seen.get(n, n): value for n, value in combination.terms}, combination.declared)

    def _is_adapter(self, node: Node) -> bool:
        return isinstance(node, Model) and node.name in self.adapters

    def _absent(self, node: Node, key: str) -> bool:
        return isinstance(node, Model) and node.name in self.adapters and key not in self.adapters[node.name].tensors

    def _bends(self, node: Model, key: str) -> bool:
        return node.name in self.adapters and key in self.adapters[node.name].bends

    def _node(self, node: Node, key: str) -> Node:
        if not isinstance(node, Applied):
            return node
        return replace(node, tensors=tuple(self.at(tensor, key) for tensor in node.tensors))
