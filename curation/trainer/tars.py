"""The tars of a plan, looked at before a training begins: one that is missing would end it."""

from curation.core.errors import CorpusError
from curation.io.store import Store
from curation.trainer.plan import Plan


def check_tars(plan: Plan, *, remote: bool) -> None:
    """Raises CorpusError where tars are missing; those of object stores are asked for if `remote`.

    A file of this machine is looked at by itself, an object store is asked for lists of names.
    """
    missing = []
    for corpus in plan.corpora:
        store = Store(corpus.url)
        if store.is_local:
            missing += [store.path(tar) for tar in corpus.tars if not store.local(tar).is_file()]
        elif remote:
            missing += [store.path(tar) for tar in _unlisted(store, corpus.tars)]
    if missing:
        more = f" (and {len(missing) - 1:,} more tars of the plan)" if len(missing) > 1 else ""
        raise CorpusError(
            f"{missing[0]}: no such file{more}; put it back, or export again and name another --out"
        )


def _unlisted(store: Store, tars: list[str]) -> list[str]:
    """The tars that their folders do not hold."""
    folders = {tar.rpartition("/")[0] for tar in tars}
    held = {folder: set(store.names(folder)) for folder in folders}
    return [tar for tar in tars if tar.rpartition("/")[2] not in held[tar.rpartition("/")[0]]]
