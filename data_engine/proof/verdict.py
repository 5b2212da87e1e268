"""Whether a compiled notebook was as in its kernel: what differed, what is doubtful, and for which cells that holds."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from data_engine.formatting import cells_text
from data_engine.model import KernelComparison, but_for_text
from data_engine.notebook.read import read_cells
from data_engine.proof.data import PYPLOT
from data_engine.proof.fingerprint import STREAM, UNREACHED, Detail, Fingerprint, name_of
from data_engine.record import Record, frozen

_MOST_SENTENCES = 5
_NO_DETAIL = Detail()


@frozen
class ValueDifference(Record):
    """One value that differs: its name, as it is in the kernel and in the slice, and the left-out cells that changed it, or how the
    cells behind it ran otherwise than they stand."""

    name: str
    kernel: str
    production: str
    cells: tuple[int, ...] = ()
    order: str = ""

    def __str__(self) -> str:
        """The difference in one sentence.

        Example:
            >>> print(ValueDifference("RATES", "{'EUR': 1.1}", "{'EUR': 1.0}", (7,)))
            `RATES` is {'EUR': 1.1} here, {'EUR': 1.0} in production: cell 7 changes it and is left out
            >>> print(ValueDifference("RATE", "2", "1", order="cell 3 has not run"))
            `RATE` is 2 here, 1 in production: cell 3 has not run
        """
        if self.kernel == _ABSENT:
            return f"`{self.name}` is not in this kernel: run its cell"
        if self.kernel == _OTHER_CODE:
            return f"`{self.name}` ran otherwise than it stands in the saved cell"
        words = f"`{self.name}` is {self.kernel} here, {self.production} in production"
        if self.kernel == self.production:
            words = f"`{self.name}` is another {self.kernel.removeprefix('a ')} here than in production"
        if self.order or not self.cells:
            return f"{words}: {self.order}" if self.order else words
        change = "changes it and is" if len(self.cells) == 1 else "change it and are"
        return f"{words}: {cells_text(self.cells)} {change} left out"


_ABSENT, _OTHER_CODE = "absent", "other code"


@frozen
class Verdict(Record):
    """How a notebook's slice compared with its kernel, at a time; `cells` are digests of all cells as they were, in order.

    `varying` are names that two executions of the slice make differently, `doubts` what cannot be compared, each told once and beginning
    with its name. `failure` is why there was nothing to compare with, "" where there was.
    """

    at_utc: str
    cells: tuple[str, ...]
    differences: tuple[ValueDifference, ...] = field(default=(), metadata={"of": ValueDifference.read})
    varying: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    failure: str = ""

    @property
    def is_same(self) -> bool:
        """Whether nothing differs of what was compared."""
        return not (self.differences or self.failure)

    @property
    def names_cells(self) -> bool:
        """Whether a cell is named that, kept, makes both sides alike."""
        return any(difference.cells for difference in self.differences)

    @property
    def unsure(self) -> tuple[str, ...]:
        """The names of what cannot be compared."""
        return tuple(doubt.partition(",")[0] for doubt in self.doubts)

    @property
    def same_text(self) -> str:
        """How the two sides are: "the same", but for what cannot be compared.

        Example:
            >>> Verdict("", (), doubts=("`ax`, a figure of Matplotlib",)).same_text
            'the same but for `ax`, which cannot be compared,'
        """
        if not self.is_same:
            return "not the same"
        but = but_for_text(self.unsure)
        return f"the same{but}," if but else "the same"

    def compared(self, cells: Sequence[str]) -> KernelComparison:
        """The verdict on the notebook with these cells now; where a cell was added or removed, those behind it changed.

        Example:
            >>> verdict = Verdict("2026-01-05T09:32:00+00:00", cells_of(["a = 1", "b = 2"]))
            >>> verdict.compared(cells_of(["a = 1", "b = 3"])).words
            'not compared with a kernel since cell 2 changed'
            >>> verdict.compared(cells_of(["a = 1", "b = 2"])).words.startswith("as in the kernel of ")
            True
        """
        before = set(self.cells)
        changed = [number for number, digest in enumerate(cells, start=1) if digest not in before]
        if not changed and tuple(cells) != self.cells:
            same = (own == other for own, other in zip(cells, self.cells, strict=False))
            changed = [next((n for n, is_same in enumerate(same, start=1) if not is_same), len(self.cells))]
        if changed:
            return KernelComparison(self.at_utc, changed=tuple(changed))
        return KernelComparison(self.at_utc, tuple(self.sentences()), unsure=self.unsure)

    def sentences(self) -> list[str]:
        """The differences in sentences, the first of many; or why there is no comparison."""
        if self.failure:
            return [self.failure]
        first = [str(difference) for difference in self.differences[:_MOST_SENTENCES]]
        more = len(self.differences) - len(first)
        return [*first, f"and {more} more"] if more else first

    def notes(self, before: Verdict | None = None) -> list[str]:
        """The notes to tell once, without those of the verdict `before`."""
        earlier = () if before is None else (*before.varying, *before.doubts)
        varying = ", ".join(f"`{name}`" for name in self.varying if name not in earlier)
        doubts = [f"not compared: {doubt}" for doubt in self.doubts if doubt not in earlier]
        return [f"{varying}: made anew each time", *doubts] if varying else doubts


def cells_of(texts: Sequence[str]) -> tuple[str, ...]:
    """The digests by which cells are known: comments count, outputs do not."""
    return tuple(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16] for text in texts)


def cells_in(path: Path, data: bytes) -> tuple[str, ...]:
    """The digests of all code cells of the notebook at `path`, whose content is `data`.

    Raises:
        FlowValidationError: it cannot be read.
    """
    return cells_of([cell.text for cell in read_cells(data, path=path)])


def differing(kernel: Fingerprint, production: Fingerprint) -> list[str]:
    """The names whose content is not the same, of functions only those whose own code is not, unless nothing else tells; without
    those that one side has not reached."""
    unreached = {name for side in (kernel, production) for name, why in side.doubts.items() if why == UNREACHED}
    labels = [
        label
        for label in {**production.parts, **kernel.parts}
        if kernel.parts.get(label) != production.parts.get(label)
        and not label.startswith(STREAM)
        and not (name_of(label) in unreached and kernel.code.get(label) == production.code.get(label))
    ]
    functions = {label for label in labels if label in kernel.code and label in production.code}
    own = [label for label in labels if label not in functions or kernel.code[label] != production.code[label]]
    return own or labels


def doubts_of(kernel: Fingerprint, production: Fingerprint, again: Fingerprint) -> list[str]:
    """The values that cannot be compared, the seeded streams of random numbers that the kernel has drawn from since, other figures of pyplot."""
    doubts = [f"`{name.removesuffix('()')}`, {why}" for name, why in {**production.doubts, **kernel.doubts}.items()]
    for label, state in production.parts.items():
        if label.startswith(STREAM) and again.parts.get(label) == state != kernel.parts.get(label):
            module = label.removeprefix(STREAM)
            why = "other figures are open here" if module == PYPLOT else "the kernel has drawn from it since its seed"
            doubts.append(f"`{module}`, {why}")
    return doubts


def differences_of(
    labels: Collection[str],
    kernel: Fingerprint,
    kernel_values: Mapping[str, Detail],
    slice_values: Mapping[str, Detail],
) -> list[ValueDifference]:
    """The differences by name, key, column, attribute or default, as people read them."""
    differences = []
    for label in labels:
        name = name_of(label)
        detail, other = kernel_values.get(label, _NO_DETAIL), slice_values.get(label, _NO_DETAIL)
        if label not in kernel.parts:
            differences.append(ValueDifference(name, _ABSENT, other.shown))
            continue
        keys = [key for key in {**other.inner, **detail.inner} if detail.inner.get(key) != other.inner.get(key)]
        parents = {key[:-1] for key in keys}
        keys = [key for key in keys if key not in parents]
        if not keys and (label in kernel.code or not (detail.shown or other.shown)):
            differences.append(ValueDifference(name, _OTHER_CODE, ""))
        elif len(keys) == 1 or (keys and detail.shown == other.shown):
            key = keys[0]
            name += "".join(key)
            shown = detail.inner[key][1] if key in detail.inner else "missing"
            differences.append(ValueDifference(name, shown, other.inner[key][1] if key in other.inner else "missing"))
        else:
            differences.append(ValueDifference(name, detail.shown or "missing", other.shown or "missing"))
    return list(dict.fromkeys(differences))
