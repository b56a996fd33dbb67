// Common and rare entries before and after balance.

import { ask, link } from "../api.js";
import { h, number, percent, put, s, strange, words } from "../dom.js";

export async function render(place, params, context) {
  const stages = await ask("concepts", { of: context.of });
  place.append(h("h1", {}, "Concepts"),
    h("p", { class: "soft lead" }, "An entry on more than t samples gives some up, so that what is common does not drown what is rare."));
  if (!stages.length) place.append(h("p", { class: "empty" }, "Nothing was balanced here."));
  for (const stage of stages) place.append(section(stage, context));
  return {};
}

function section(stage, context) {
  const body = h("div", {});
  const choose = h("select", { "aria-label": "language", onchange: () => draw(Number(choose.value)) },
    stage.languages.map((l, n) => h("option", { value: n }, `${l.name} (${number(l.matches)} matches)`)));
  const draw = (n) => put(body, language(stage, stage.languages[n], context));
  draw(0);
  return h("section", { class: "panel" },
    h("div", { class: "charthead" }, h("h2", {}, words(stage.stage)), stage.languages.length > 1 ? choose : null,
      h("span", { class: "soft" }, `${number(stage.entered)} samples came, ${number(stage.kept)} stayed`)),
    Object.entries(stage.notes).map(([note, n]) => h("span", { class: "soft small note" }, `${number(n)} ${note}`)), body);
}

function language(stage, l, context) {
  return [
    h("section", { class: "cards small" },
      figure("entries with a match", l.entries), figure("on more than t", l.in_head, `t = ${number(l.t)}`),
      figure("share of the common ones", percent(l.head_before, l.matches), "before"),
      figure("share of the common ones", percent(l.head_after, l.kept), "after")),
    chart(l), table(stage, l, context)];
}

const figure = (name, count, note = "") => h("div", { class: "card plain" }, h("span", { class: "name" }, name),
  h("span", { class: "count" }, typeof count === "number" ? number(count) : count), h("span", { class: "share" }, note));

const WIDE = 920, TALL = 340, LEFT = 56, RIGHT = 16, TOP = 16, FOOT = 40;

function chart(l) {
  const most = Math.max(10, l.before[0]?.[1] ?? 1, l.t), ranks = Math.max(10, l.before.at(-1)?.[0] ?? 1);
  const x = (rank) => LEFT + (Math.log(rank) / Math.log(ranks)) * (WIDE - LEFT - RIGHT);
  const y = (count) => TALL - FOOT - (Math.log(count) / Math.log(most)) * (TALL - TOP - FOOT);
  const path = (points) => points.map(([rank, count], n) => `${n ? "L" : "M"}${x(rank).toFixed(1)} ${y(count).toFixed(1)}`).join("");
  const svg = s("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, class: "ranks", role: "img", "aria-label": "samples by rank of the entry, before and after balance" });
  const axis = s("g", { class: "axis" });
  for (let tick = 1; tick <= ranks; tick *= 10) axis.append(s("line", { x1: x(tick), x2: x(tick), y1: TOP, y2: TALL - FOOT, class: "rule" }), s("text", { x: x(tick), y: TALL - FOOT + 18, "text-anchor": "middle" }, number(tick)));
  for (let tick = 1; tick <= most; tick *= 10) axis.append(s("line", { x1: LEFT, x2: WIDE - RIGHT, y1: y(tick), y2: y(tick), class: "rule" }), s("text", { x: LEFT - 8, y: y(tick) + 4, "text-anchor": "end" }, number(tick)));
  axis.append(s("text", { x: WIDE - RIGHT, y: TALL - 6, "text-anchor": "end" }, "rank of the entry"), s("text", { x: LEFT, y: 12 }, "samples"));
  svg.append(axis, s("line", { class: "t", x1: LEFT, x2: WIDE - RIGHT, y1: y(l.t), y2: y(l.t) }),
    s("text", { class: "tlabel", x: WIDE - RIGHT, y: y(l.t) - 6, "text-anchor": "end" }, `t = ${number(l.t)}`),
    s("path", { class: "before", d: path(l.before) }), s("path", { class: "after", d: path(l.after) }));
  return [svg, h("p", { class: "legend soft small" }, h("span", { class: "swatch before" }), "before ", h("span", { class: "swatch kept" }), "after")];
}

function table(stage, l, context) {
  const body = h("tbody", {});
  const search = h("input", { type: "search", placeholder: "Find an entry", "aria-label": "find an entry", oninput: () => draw() });
  const draw = () => {
    const wanted = search.value.trim().toLowerCase();
    const rows = wanted ? l.rows.filter((r) => r.name.toLowerCase().includes(wanted)) : [...l.rows.slice(0, 25), ...l.rows.slice(25).slice(-15)];
    put(body, rows.slice(0, 60).map((r) => h("tr", {},
      h("th", { scope: "row" }, h("a", { href: link("gallery", { of: context.of === "a" ? undefined : context.of, ...(stage.by === "cluster" ? { cluster: r.id.split(":").at(-1) } : { concept: r.id }) }) }, strange(r.name))),
      h("td", { class: "value" }, number(r.samples)), h("td", { class: "value" }, number(r.kept)), h("td", { class: "value" }, number(r.p)))));
  };
  draw();
  return h("div", { class: "tablebox" }, h("div", { class: "charthead" }, h("h3", {}, "The most common, and the rarest"), search),
    h("table", { class: "plain" }, h("thead", {}, h("tr", {}, ["entry", "came", "stayed", "p"].map((t) => h("th", { scope: "col" }, t)))), body));
}
