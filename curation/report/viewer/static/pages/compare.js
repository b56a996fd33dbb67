// What moved from one corpus to another.

import { ask } from "../api.js";
import { append, h, number, put, strange, words } from "../dom.js";
import { tileLink } from "../tile.js";

export async function render(place, params, context, left) {
  place.append(h("h1", {}, "What moved"), h("p", { class: "loading" }, "Comparing…"));
  const said = await ask("compare");
  place.lastChild.remove();
  const moves = said.moves.map((move) => ({ name: `${move.was} ${move.now}`, element: entry(move, context) }));
  const moved = said.moves.reduce((sum, move) => sum + move.samples, 0);
  append(place, [
    h("p", { class: "soft lead" }, "From A, ", strange(context.views.a), ", to B, ", strange(context.views.b), `. ${number(said.same)} samples have the same fate, ${number(moved)} another.`),
    said.recipe.length ? h("section", { class: "panel" }, h("h2", {}, "Recipe"), changes(said.recipe)) : h("p", { class: "soft" }, "Both were decided by the same recipe, or one is undecided."),
    said.totals.length ? h("section", { class: "panel" }, h("h2", {}, "Totals"), changes(said.totals)) : null,
    h("section", { class: "panel" }, h("h2", {}, "Samples"), said.moves.length ? moves.map((move) => move.element) : h("p", { class: "empty" }, "None has another fate."))]);
  for (const { name, element } of moves) if (left?.kept?.open.includes(name)) element.open = true;
  return { kept: () => ({ open: moves.filter((move) => move.element.open).map((move) => move.name) }) };
}

const told = (value) => {
  if (value === null || value === "" || (Array.isArray(value) && !value.length)) return "none";
  const text = typeof value === "number" ? number(value) : Array.isArray(value) ? value.join(", ") : String(value);
  return text.length > 160 ? `${text.slice(0, 160)}…` : text;
};

function changes(rows) {
  return h("table", { class: "plain" }, h("thead", {}, h("tr", {}, ["", "A", "B"].map((t) => h("th", { scope: "col" }, t)))),
    h("tbody", {}, rows.map(([name, was, now]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, strange(told(was))), h("td", {}, strange(told(now)))))));
}

const fateWords = (text) => words(text.replace(/^dropped: /, "dropped by ").replace(/^quarantined: /, "quarantined by "));

function entry(move, context) {
  const of = move.was === "absent" ? "b" : "a";
  const strip = h("div", { class: "strip" });
  const open = async (event) => {
    if (!event.target.open || strip.childElementCount) return;
    put(strip, h("p", { class: "loading" }, "…"));
    const said = await ask("uids", { of, uid: move.uids });
    put(strip, said.tiles.length ? said.tiles.map((tile) => tileLink(context, tile, { within: { of }, among: said.tiles.map((one) => one.at) })) : h("p", { class: "empty" }, "None of them may be shown."));
  };
  return h("details", { class: "move", ontoggle: open }, h("summary", {},
    h("span", { class: "count" }, number(move.samples)), h("span", { class: "was" }, fateWords(move.was)), h("span", { class: "arrow", "aria-label": "became" }, "→"), h("span", { class: "now" }, fateWords(move.now))),
  strip, move.samples > move.uids.length ? h("p", { class: "soft small" }, `The first ${number(move.uids.length)} by uid.`) : null);
}
