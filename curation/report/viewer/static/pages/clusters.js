// A map of embeddings: on their two principal axes, or laid out by neighbours.

import { ask, link } from "../api.js";
import { caution } from "../caution.js";
import { h, number, percent, put, strange, toast, words } from "../dom.js";
import { onTheme } from "../theme.js";
import { picture } from "../tile.js";

const WIDE = 920, TALL = 620, EDGE = 24;
const WAYS = { ArrowRight: [1, 0], ArrowLeft: [-1, 0], ArrowDown: [0, 1], ArrowUp: [0, -1] };

export async function render(place, params, context) {
  place.append(h("h1", {}, "Clusters"), h("p", { class: "loading" }, "Laying out the map…"));
  const [said, choices] = await Promise.all([ask("map", { of: context.of }), ask("choices", { of: context.of })]);
  place.lastChild.remove();
  const map = new EmbeddingMap(said, context);
  const of = context.of === "a" ? undefined : context.of;
  const by = h("select", { "aria-label": "colour", onchange: () => { map.by = by.value; map.paint(); } },
    h("option", { value: "fate" }, "coloured by decision"), said.cluster ? h("option", { value: "cluster" }, "coloured by cluster") : null);
  const lead = h("p", { class: "soft lead" });
  const blind = context.overview.has.clip_fails; // then nothing is said of what near points are
  const tell = (laid) => put(lead, `${number(said.at.length)} samples ${blind ? "by their CLIP embeddings" : "by what their images show"}: `, laid.explained
    ? `${blind ? "laid out" : "their embeddings"} on two axes, which tell ${percent(laid.explained[0] + laid.explained[1], 1)} of how they differ.${blind ? "" : " Points far apart differ, near ones often look alike."}`
    : `${blind ? "laid out" : "their embeddings laid out"} by neighbours (UMAP).${blind ? "" : " Points that lie together look alike; how far apart groups lie means little."}`);
  const layout = laying(said, context, (laid) => { map.place(laid); tell(laid); });
  tell(said);
  place.append(lead, caution(context) ?? "",
    h("div", { class: "mapbox" },
      h("div", {}, h("div", { class: "charthead" }, by, layout, map.legend), map.element),
      h("aside", {}, map.card, choices.clusters.length ? [h("h2", {}, "The largest clusters"), h("ol", { class: "clusterlist" }, choices.clusters.slice(0, 24).map((c) =>
        h("li", {}, h("a", { href: link("gallery", { of, cluster: c.value }), onmouseenter: () => map.light(c.value), onmouseleave: () => map.light(null), onfocus: () => map.light(c.value), onblur: () => map.light(null) }, `cluster ${c.value}`), h("span", { class: "soft" }, number(c.samples)))))] : null)));
  map.paint();
  return map;
}

/** The axes are there at once, neighbours take a while: they come when they are asked for. */
function laying(axes, context, show) {
  if (!context.overview.has.neighbours) return null;
  const choice = h("select", { "aria-label": "layout", onchange: async () => {
    if (choice.value === "axes") { show(axes); return; }
    toast("Laying it out by neighbours, which takes a while the first time…");
    try {
      const laid = await ask("map", { of: context.of, by: "neighbours" });
      if (choice.value === "neighbours") show(laid);
    } catch (error) {
      choice.value = "axes";
      toast(error.message);
    }
  } }, h("option", { value: "axes" }, "on principal axes"), h("option", { value: "neighbours" }, "by neighbours (UMAP)"));
  return choice;
}

class EmbeddingMap {
  constructor(said, context) {
    this.said = said;
    this.context = context;
    this.by = "fate";
    this.lit = null;
    this.over = null;
    this.element = h("canvas", { class: "map", width: WIDE * 2, height: TALL * 2, tabIndex: 0, role: "application", "aria-roledescription": "map",
      "aria-label": "map of embeddings: arrows go to the nearest sample on that side, Enter opens it",
      onmousemove: (event) => this.hover(event), onclick: () => this.open(), onmouseleave: () => this.point(null),
      onfocus: () => { if (this.over === null && this.element.matches(":focus-visible")) this.point(this.near(WIDE / 2, TALL / 2)); } });
    this.legend = h("span", { class: "legend soft small" });
    this.card = h("div", { class: "mapcard", role: "status", "aria-label": "the sample that is pointed at" }, h("p", { class: "soft" }, "Point at a sample to see it, click to open it; or walk there by Tab and arrows."));
    this.lay(said);
    this.forget = onTheme(() => this.paint());
  }

  close() { this.forget(); }

  lay(laid) {
    const scale = (values, size) => {
      const low = Math.min(...values), high = Math.max(...values);
      return values.map((v) => EDGE + ((v - low) / (high - low || 1)) * (size - 2 * EDGE));
    };
    this.x = scale(laid.x, WIDE);
    this.y = scale(laid.y.map((v) => -v), TALL);
  }

  place(laid) { this.over = null; this.lay(laid); this.paint(); }

  colour(n, style) {
    if (this.by === "cluster") {
      const cluster = this.said.cluster[n];
      return cluster === null ? style.getPropertyValue("--soft") : `hsl(${(cluster * 137.508) % 360} 55% 52%)`;
    }
    const { status } = this.context.overview.groups[this.said.group[n]];
    return style.getPropertyValue({ dropped: "--dropped", quarantined: "--quarantined" }[status] ?? "--kept");
  }

  paint() {
    const style = getComputedStyle(document.documentElement);
    const brush = this.element.getContext("2d");
    brush.setTransform(2, 0, 0, 2, 0, 0);
    brush.clearRect(0, 0, WIDE, TALL);
    for (let n = 0; n < this.x.length; n++) {
      const faded = this.lit !== null && this.said.cluster?.[n] !== this.lit;
      brush.globalAlpha = faded ? 0.08 : 0.7;
      brush.fillStyle = this.colour(n, style);
      brush.beginPath();
      brush.arc(this.x[n], this.y[n], this.lit !== null && !faded ? 4.5 : 3, 0, 7);
      brush.fill();
    }
    brush.globalAlpha = 1;
    if (this.over !== null) {
      brush.strokeStyle = style.getPropertyValue("--text");
      brush.lineWidth = 1.5;
      brush.beginPath();
      brush.arc(this.x[this.over], this.y[this.over], 7, 0, 7);
      brush.stroke();
    }
    put(this.legend, this.by === "fate" ? ["kept", "dropped", "quarantined"].map((kind) => [h("span", { class: `swatch ${kind}` }), `${kind} `]) : "each cluster in a colour of its own");
  }

  light(cluster) { this.lit = cluster; this.paint(); }

  hover(event) {
    const box = this.element.getBoundingClientRect();
    this.point(this.near(((event.clientX - box.left) * WIDE) / box.width, ((event.clientY - box.top) * TALL) / box.height, 12));
  }

  point(n) {
    if (n === this.over) return;
    this.over = n;
    this.element.classList.toggle("pointing", n !== null);
    this.paint();
    if (n !== null) this.tell(n);
  }

  /** The point nearest to a place, or null where none is within reach. */
  near(x, y, reach = Infinity) {
    let best = null, least = reach ** 2;
    for (let n = 0; n < this.x.length; n++) {
      const far = (this.x[n] - x) ** 2 + (this.y[n] - y) ** 2;
      if (far < least) { least = far; best = n; }
    }
    return best;
  }

  /** The nearest point within 45 degrees of an arrow; those on one spot come one after the other. */
  beside([right, down]) {
    let best = null, least = Infinity;
    for (let n = 0; n < this.x.length; n++) {
      const x = this.x[n] - this.x[this.over], y = this.y[n] - this.y[this.over];
      const same = x === 0 && y === 0;
      const along = same ? (n - this.over) * (right || down) : right ? x * right : y * down;
      if (along <= 0 || (!same && Math.abs(right ? y : x) > along)) continue;
      const far = same ? along * 1e-9 : x * x + y * y;
      if (far < least) { least = far; best = n; }
    }
    return best;
  }

  key(event) {
    if (document.activeElement !== this.element) return false;
    if (event.key === "Enter") { this.open(); return true; }
    if (!Object.hasOwn(WAYS, event.key)) return false;
    if (this.over === null) this.point(this.near(WIDE / 2, TALL / 2));
    else this.point(this.beside(WAYS[event.key]) ?? this.over);
    return true;
  }

  async tell(n) {
    const at = this.said.at[n];
    const said = await ask("sample", { of: this.context.of, at });
    if (this.over !== n || said.hidden) return;
    put(this.card, picture(this.context.of, said.tile, 240), h("p", { class: "text" }, strange(said.tile.caption)),
      h("p", { class: "soft small" }, words(said.tile.cause || said.tile.status), this.said.cluster?.[n] === null || !this.said.cluster ? "" : ` · cluster ${this.said.cluster[n]}`));
  }

  open() {
    if (this.over !== null) location.hash = link("sample", { of: this.context.of, at: this.said.at[this.over] });
  }
}
