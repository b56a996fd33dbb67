// Where somebody was on a page, kept with its entry in the browser's history: going back finds it so.
//
// An entry's state: `from` title of the page that it was opened from, `scroll`, `at` position of the
// sample that was opened from it, `kept` what the page itself wants to find again.

const QUIET = 150; // ms without scrolling; browsers count how often an entry changes
const PATIENCE = 5_000; // ms in which what a page still loads may come

let shown = null; // the address of the page that is seen, as `show` was given it
let keeping = () => undefined;
let soon = 0;
let restoring = null;

/** A page comes. Gives the state that it was left in, null where it is opened anew. */
export function arrive(from) {
  clearTimeout(soon);
  restoring?.abort();
  shown = null;
  const { state } = history;
  if (state === null) history.replaceState(from ? { from } : {}, "");
  return state?.scroll === undefined ? null : state;
}

/** The page is there; `kept` tells what it wants to find again. */
export function settled(kept) {
  shown = location.hash;
  keeping = kept ?? (() => undefined);
}

/** What the page was opened from; empty where nothing leads back. */
export const opener = () => history.state?.from ?? "";

function keep(more = {}) {
  if (shown === null || shown !== location.hash || restoring) return;
  history.replaceState({ ...history.state, scroll: scrollY, kept: keeping(), ...more }, "");
}

/** The same page under another address, as it tells more of itself. */
export function rename(hash) {
  const here = shown === location.hash;
  history.replaceState(history.state, "", hash);
  if (here) shown = location.hash;
}

/** Another sample in place of this one: what leads back still does. */
export function step(hash) {
  const { from } = history.state ?? {};
  history.replaceState(from ? { from } : {}, "", hash);
  shown = null;
  setTimeout(() => dispatchEvent(new HashChangeEvent("hashchange")));
}

/** Back to where the page was opened, or to `otherwise`. */
export function leave(otherwise) {
  if (!opener()) { location.hash = otherwise; return; }
  const before = location.hash;
  addEventListener("popstate", () => { // of an entry with the same address no change is told
    if (location.hash === before) dispatchEvent(new HashChangeEvent("hashchange"));
  }, { once: true });
  history.back();
}

/** Properties of a link that does `act` unless it is to open elsewhere. */
export const instead = (act) => ({ onclick: (event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  act();
} });

/** Scrolls to where it was and focuses the tile of `at`, as soon as both are there. */
export function restore(place, { scroll, at }) {
  restoring?.abort();
  const stop = new AbortController();
  restoring = stop;
  const attempt = () => {
    if (stop.signal.aborted) return;
    const tile = at === undefined ? null : place.querySelector(`a.tile[data-at="${Number(at)}"]`);
    scrollTo({ top: scroll });
    tile?.focus({ preventScroll: true });
    tile?.scrollIntoView({ block: "nearest", inline: "nearest" });
    if ((tile || at === undefined) && (tile || Math.abs(scrollY - scroll) < 2)) stop.abort();
  };
  const watch = new MutationObserver(attempt);
  watch.observe(place, { childList: true, subtree: true });
  const over = setTimeout(() => stop.abort(), PATIENCE);
  stop.signal.addEventListener("abort", () => {
    watch.disconnect();
    clearTimeout(over);
    if (restoring === stop) restoring = null;
  });
  for (const sign of ["wheel", "pointerdown", "keydown", "touchstart"])
    addEventListener(sign, () => stop.abort(), { signal: stop.signal, passive: true, capture: true });
  attempt();
}

export function watch() {
  history.scrollRestoration = "manual";
  addEventListener("scroll", () => { clearTimeout(soon); soon = setTimeout(keep, QUIET); }, { passive: true });
  addEventListener("click", (event) => {
    const tile = event.target.closest?.("a.tile");
    keep(tile ? { at: Number(tile.dataset.at) } : {});
  }, { capture: true });
}
