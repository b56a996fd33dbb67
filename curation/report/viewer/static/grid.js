// A grid of very many tiles of which only those in sight exist.

import { ask } from "./api.js";
import { h, put, toast } from "./dom.js";
import { onOpinion } from "./opinions.js";
import { tileLink } from "./tile.js";

const PAGE = 60;
const MOST = 120_000; // browsers lay out no page much taller: of more, those around `from`
const FURTHEST = 1e12; // more than any corpus holds
const GAP = 16;
const WIDE = 208;
const TALL = 274;
const HEAD = 130; // what lies over the grid when it is scrolled

export class Grid {
  /** `from`: number of the sample to begin with, 1 for the first. */
  constructor(context, filter, from = 1) {
    this.context = context;
    this.filter = filter;
    this.pages = new Map();
    this.tiles = new Map();
    this.total = null;
    this.focus = Math.min(FURTHEST, Math.max(0, Math.trunc(from) - 1));
    this.base = 0;
    this.element = h("div", { class: "grid", role: "list", "aria-label": "samples" });
    this.gone = new AbortController();
    const { signal } = this.gone;
    const draw = () => { cancelAnimationFrame(this.frame); this.frame = requestAnimationFrame(() => this.draw()); };
    addEventListener("scroll", draw, { signal, passive: true });
    addEventListener("resize", draw, { signal });
    this.forget = onOpinion((place) => this.mark(place));
  }

  close() {
    this.gone.abort();
    this.forget();
    cancelAnimationFrame(this.frame);
  }

  get reach() { return Math.min(this.total ?? 0, MOST); }

  /** `base`: number of the first sample to scroll through, where that is known. */
  async start(base = null) {
    await this.load(Math.floor(this.focus / PAGE));
    this.focus = Math.max(0, Math.min(this.focus, this.total - 1));
    const inside = base !== null && base <= this.focus && this.focus < base + MOST;
    this.base = Math.max(0, Math.min(inside ? base : this.focus - MOST / 2, this.total - MOST));
    this.draw();
    if (this.focus) scrollTo({ top: this.top(this.focus) - HEAD });
    return this.total;
  }

  /** To the sample that is chosen, from `scroll`, where somebody was before. */
  reveal(scroll) {
    scrollTo({ top: scroll });
    if (this.moved) this.bring();
    this.draw();
  }

  /** Scrolls no further than it takes to see the one that is chosen. */
  bring() {
    const top = this.top(this.focus);
    if (top < scrollY + HEAD) scrollTo({ top: top - HEAD });
    else if (top + TALL > scrollY + innerHeight - 20) scrollTo({ top: top + TALL - innerHeight + 20 });
  }

  async load(page) {
    if (this.pages.has(page)) return this.pages.get(page);
    const asked = ask("samples", { ...this.filter, of: this.context.of, offset: page * PAGE, limit: PAGE }, this.gone.signal)
      .then((said) => { this.total = said.total; return said.tiles; });
    this.pages.set(page, asked);
    try {
      return await asked;
    } catch (error) {
      this.pages.delete(page);
      throw error;
    }
  }

  draw() {
    if (this.total === null || !this.element.isConnected) return;
    const across = this.element.clientWidth;
    this.columns = Math.max(1, Math.floor((across + GAP) / (WIDE + GAP)));
    const width = (across - GAP * (this.columns - 1)) / this.columns;
    const rows = Math.ceil(this.reach / this.columns);
    this.element.style.setProperty("height", `${Math.max(0, rows * (TALL + GAP) - GAP)}px`);
    const top = -this.element.getBoundingClientRect().top;
    const first = Math.max(0, Math.floor(top / (TALL + GAP)) - 1);
    const last = Math.min(rows, Math.ceil((top + innerHeight) / (TALL + GAP)) + 1);
    const from = this.base + first * this.columns, to = this.base + Math.min(this.reach, last * this.columns);
    for (const [nth, tile] of this.tiles)
      if (nth < from || nth >= to) { tile.remove(); this.tiles.delete(nth); }
    for (let nth = from; nth < to; nth++) {
      const tile = this.tiles.get(nth) ?? this.make(nth);
      tile.style.setProperty("transform",
        `translate(${((nth - this.base) % this.columns) * (width + GAP)}px, ${this.row(nth) * (TALL + GAP)}px)`);
      tile.style.setProperty("width", `${width}px`);
      tile.classList.toggle("focus", nth === this.focus && this.moved === true);
    }
  }

  row(nth) { return Math.floor((nth - this.base) / this.columns); }

  /** Where a sample's row begins on the page. */
  top(nth) { return this.element.getBoundingClientRect().top + scrollY + this.row(nth) * (TALL + GAP); }

  make(nth) {
    const cell = h("div", { class: "cell", role: "listitem" });
    this.tiles.set(nth, cell);
    this.element.append(cell);
    this.load(Math.floor(nth / PAGE)).then((tiles) => {
      const tile = tiles[nth % PAGE];
      if (tile) put(cell, tileLink(this.context, tile, { within: this.filter }));
    }).catch((error) => { if (error.name !== "AbortError") toast(error.message); });
    return cell;
  }

  mark(place) {
    const opinions = this.context.opinions(this.context.of);
    for (const { dataset } of this.element.querySelectorAll("a.tile"))
      if (place === null || dataset.place === place) {
        const [shard, row] = dataset.place.split(":");
        dataset.opinion = opinions.of({ shard, row, uid: dataset.uid });
      }
  }

  move(by) {
    if (!this.reach) return;
    this.focus = this.moved ? Math.min(this.base + this.reach - 1, Math.max(this.base, this.focus + by)) : this.focus;
    this.moved = true;
    this.bring();
    this.draw();
    this.tiles.get(this.focus)?.querySelector("a")?.focus({ preventScroll: true });
  }

  async current() {
    if (!this.reach) return null;
    return (await this.load(Math.floor(this.focus / PAGE)))[this.focus % PAGE] ?? null;
  }
}
