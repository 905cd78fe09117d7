"""Relations between packages in the words of each format; written once in the manifest.

    nginx (>= 1.20)      deb   nginx (>= 1.20)
                         rpm   nginx >= 1.20
                         apk   nginx>=1.20         archlinux  nginx>=1.20
    a | b                deb   a | b               rpm  (a or b)

apk has no field for conflicts, but a dependency on a package's absence (`!name`). It has none
for what is recommended or suggested either: there those relations are left out, since a package
does without them.

Source: Debian policy 7.1; rpm, "Dependencies" and "Boolean dependencies"; apk-world(5);
PKGBUILD(5), depends. What nfpm writes was measured on 2026-11-25 with nfpm 2.48.
"""

from __future__ import annotations

from ovenbird.domain.errors import InvalidRequest
from ovenbird.domain.packages import Init, PackageFormat, PackageSpec, RelationKind
from ovenbird.domain.relations import Atom, Relation
from ovenbird.domain.versions import render
from ovenbird.packaging.writing.duties import accounts

_ONE_SIGN = {"<<": "<", ">>": ">"}  # everyone but dpkg says it with one sign
_WEAK = frozenset({RelationKind.RECOMMENDS, RelationKind.SUGGESTS})
_CHOICES = _WEAK | {RelationKind.DEPENDS}  # where alternatives make sense

# What reads /etc/cron.d; Alpine's busybox does not.
_CRON = {
    PackageFormat.DEB: ("cron | cron-daemon",),
    PackageFormat.RPM: ("cronie",),
    PackageFormat.ARCHLINUX: ("cronie",),
}


def relations(spec: PackageSpec, format_: PackageFormat) -> dict[str, list[str]]:
    """Return a package's relations as nfpm takes them: its field → texts.

    Raises:
        InvalidRequest: The format cannot say a relation, or the package depends on itself.
    """
    found = {kind.value: _of_kind(spec, format_, kind) for kind in RelationKind}
    _refuse_itself(spec, format_)
    if format_ is PackageFormat.APK:
        absent = [f"!{text}" for text in found.pop(RelationKind.CONFLICTS.value)]
        found[RelationKind.DEPENDS.value] += absent
        for kind in _WEAK:
            del found[kind.value]
    if format_ is PackageFormat.RPM and any(accounts(spec, format_)):
        # What %pre calls; by its path, since distributions differ in the package's name.
        found[RelationKind.DEPENDS.value].append("/usr/sbin/useradd")
    if needed := _cron_is(spec):
        found.get(needed, []).extend(_CRON.get(format_, ()))
    return {kind: texts for kind, texts in found.items() if texts}


def _cron_is(spec: PackageSpec) -> str:
    """Return what cron is to a package: needed for jobs without systemd, or good to have.

    Where a package has timers, too, cron runs its jobs only on machines without systemd.
    """
    older = {Init.UPSTART, Init.SYSV} & set(spec.init)
    if not older or not any(service.schedule for service in spec.services):
        return ""
    beside = Init.SYSTEMD in spec.init
    return (RelationKind.RECOMMENDS if beside else RelationKind.DEPENDS).value


def _of_kind(spec: PackageSpec, format_: PackageFormat, kind: RelationKind) -> list[str]:
    try:
        return [rendered(one, format_, kind) for one in spec.relations_of(format_, kind)]
    except InvalidRequest as error:
        place = f"`{spec.name}: {kind.value}`"
        raise InvalidRequest(f"{place}: {error}", hint=error.hint, **error.facts) from error


def rendered(relation: Relation, format_: PackageFormat, kind: RelationKind) -> str:
    """Say one relation in a format's words.

    Raises:
        InvalidRequest: The format cannot say it.
    """
    if relation.raw:
        return relation.raw
    texts = [_atom(atom, format_) for atom in relation.atoms]
    if len(texts) == 1:
        if kind is RelationKind.PROVIDES and relation.atoms[0].operator not in {"", "="}:
            raise InvalidRequest(
                f"`{debian(relation)}` cannot be provided: a package is of one version",
                hint="Write it as `name` or `name (= 1.0)`",
            )
        return texts[0]
    return _alternatives(relation, texts, format_, kind)


def debian(relation: Relation) -> str:
    """Return the relation as it is written in a manifest."""
    texts = (
        f"{a.name} ({a.operator} {a.version})" if a.operator else a.name for a in relation.atoms
    )
    return relation.raw or " | ".join(texts)


def _alternatives(
    relation: Relation, texts: list[str], format_: PackageFormat, kind: RelationKind
) -> str:
    if kind not in _CHOICES:
        raise InvalidRequest(
            f"`{debian(relation)}` has alternatives, which `{kind.value}` cannot have",
            hint=f"Write one line of `{kind.value}` for each package",
        )
    match format_:
        case PackageFormat.DEB:
            return " | ".join(texts)
        case PackageFormat.RPM:
            return f"({' or '.join(texts)})"
        case _ if kind in _WEAK:
            return texts[0]  # the best one; nothing breaks without it
        case _:
            own = f"`{kind.value}: {{{format_.value}: [...]}}`"
            raise InvalidRequest(
                f"{format_.value} cannot say `{debian(relation)}`: it knows no alternatives",
                hint=f"Say what {format_.value} shall depend on by itself: {own}",
            )


def _atom(atom: Atom, format_: PackageFormat) -> str:
    if not atom.operator:
        return atom.name
    version = _version(atom.version, format_)
    operator = _ONE_SIGN.get(atom.operator, atom.operator)
    match format_:
        case PackageFormat.DEB:
            return f"{atom.name} ({atom.operator} {version})"
        case PackageFormat.RPM:
            return f"{atom.name} {operator} {version}"
        case _:
            return f"{atom.name}{operator}{version}"


def _version(text: str, format_: PackageFormat) -> str:
    """A release is part of a relation only where the manifest says one: `>= 1.2` means any."""
    said = render(text, format_)
    epoch = f"{said.epoch}:" if said.epoch else ""
    mark = "-r" if format_ is PackageFormat.APK else "-"
    release = f"{mark}{said.release}" if said.release and "-" in text else ""
    return f"{epoch}{said.version}{release}"


def _refuse_itself(spec: PackageSpec, format_: PackageFormat) -> None:
    needed = spec.relations_of(format_, RelationKind.DEPENDS)
    alone = {one.atoms[0].name for one in needed if len(one.atoms) == 1}
    if spec.name in alone:
        raise InvalidRequest(f"`{spec.name}` depends on itself", hint="Leave that relation out")
    unwanted = spec.relations_of(format_, RelationKind.CONFLICTS)
    excluded = {one.atoms[0].name for one in unwanted if one.atoms and not one.atoms[0].operator}
    if both := sorted(alone & excluded):
        raise InvalidRequest(f"`{spec.name}` depends on `{both[0]}` and conflicts with it")
