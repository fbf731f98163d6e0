"""What a formula means for one tensor where adapters come in: absent ones vanish, and DoRA sees its weight."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from enogu.core.records.errors import Refused
from enogu.merge.adapters.adapter import AdapterHeader
from enogu.merge.algebra import Adapted, Applied, Combination, Model, Node


@dataclass(frozen=True)
class Terms:
    """The adapters of a merge by name."""

    adapters: Mapping[str, AdapterHeader]

    def at(self, combination: Combination, key: str) -> Combination:
        """Return a combination as it is for one tensor."""
        if not self.adapters or not self.adapters.keys() & set(combination.models()):
            return combination
        terms: dict[Node, float] = {}
        for node, value in combination.terms:
            if not self._absent(node, key):
                here = self._node(node, key)
                terms[here] = terms.get(here, 0.0) + value
        bent = [node for node in terms if isinstance(node, Model) and self._bends(node, key)]
        if not bent:
            return Combination.of(terms, combination.declared)
        fixed = {
            node: value for node, value in terms.items() if not (isinstance(node, Model) and node.name in self.adapters)
        }
        weight = Combination.of(fixed, combination.declared)
        if not weight.is_weight:
            raise Refused(
                f"{bent[0].name} is a DoRA: what it adds depends on the weight that it is added to, and {combination} "
                f"adds it to none; write BASE + {bent[0].name}"
            )
        seen = {
            node: Adapted(node.name, weight) if node in bent and isinstance(node, Model) else node for node in terms
        }
        return Combination.of({seen[node]: value for node, value in terms.items()}, combination.declared)

    def _absent(self, node: Node, key: str) -> bool:
        return isinstance(node, Model) and node.name in self.adapters and key not in self.adapters[node.name].tensors

    def _bends(self, node: Model, key: str) -> bool:
        return node.name in self.adapters and key in self.adapters[node.name].bends

    def _node(self, node: Node, key: str) -> Node:
        if not isinstance(node, Applied):
            return node
        return replace(node, tensors=tuple(self.at(tensor, key) for tensor in node.tensors))
