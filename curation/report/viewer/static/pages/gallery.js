// Any selection of samples as a grid.

import { ask, filterOf, give, link } from "../api.js";
import { caution } from "../caution.js";
import { h, number, strange, toast, words } from "../dom.js";
import { Grid } from "../grid.js";
import { restore } from "../places.js";

const JUMPS = 1_000; // samples above which scrolling alone is a long way
let offered = {};

export async function render(place, params, context, left) {
  const filter = filterOf(params);
  const asked = /^\d{1,12}$/.test(params.get("at") ?? "") ? Number(params.get("at")) : undefined;
  const at = left?.at ?? asked; // the sample that one comes back from
  const nth = at === undefined ? null : (await ask("neighbours", { ...filter, of: context.of, at })).nth;
  const grid = new Grid(context, filter, nth === null ? Number(filter.from) || 1 : nth + 1);
  grid.moved = nth !== null;
  const count = h("span", { class: "total", "aria-live": "polite" });
  offered[context.of] ??= await ask("choices", { of: context.of });
  const go = (change) => { location.hash = link("gallery", { ...filter, from: "", ...change }); };
  const waiting = h("p", { class: "loading" }, filter.near?.startsWith("text:") ? "Looking…" : "Searching…");
  place.append(
    h("h1", { class: "unseen" }, "Gallery"),
    h("form", { class: "filters", role: "search", onsubmit: (event) => event.preventDefault() },
      searchBox(filter, go, context), family(filter, go, context), fates(filter, go, context), language(filter, go, context),
      cluster(filter, go, context), concept(filter, go, context), order(filter, go, context)),
    h("div", { class: "chosen" }, count, chips(filter, go, context), range(filter, go, context)),
    waiting, grid.element);
  if (sessionStorage.getItem("search")) {
    sessionStorage.removeItem("search");
    document.getElementById("search").focus();
  }
  try {
    const total = await grid.start(left?.kept?.base);
    waiting.remove();
    if (left) grid.reveal(left.scroll);
    if (left || nth !== null) restore(place, { scroll: scrollY, at: nth === null ? undefined : at });
    count.textContent = `${number(total)} sample${total === 1 ? "" : "s"}`;
    if (total > grid.reach) count.textContent += `, ${number(grid.base + 1)} to ${number(grid.base + grid.reach)} to scroll through`;
    if (total > JUMPS) count.after(jump(total, grid.focus + 1, go));
    if (!total) grid.element.after(h("p", { class: "empty" }, "No sample is like that. Loosen a filter."));
  } catch (error) {
    grid.close();
    throw error;
  }
  const stop = context.overview.has.map ? dropping(place, go, context) : () => {};
  return {
    close: () => { grid.close(); stop(); }, key: (event) => key(event, grid, context),
    kept: () => ({ base: grid.base }), restored: true,
  };
}

const STEPS = { ArrowRight: 1, ArrowLeft: -1, j: 1, J: -1 };
const LABELS = { k: "keep", d: "drop" };

function key(event, grid, context) {
  const step = event.key in STEPS ? STEPS[event.key]
    : event.key === "ArrowDown" ? grid.columns : event.key === "ArrowUp" ? -grid.columns : 0;
  if (step) { grid.move(step); return true; }
  if (event.key in LABELS) {
    if (grid.moved) grid.current().then((tile) => tile && context.opinions(context.of).set(tile, LABELS[event.key]));
    else grid.move(0); // nothing is chosen yet: the first press only shows which one it is about
    return true;
  }
  return false;
}

/** A picture dropped anywhere on the page finds those that look like it. */
function dropping(place, go, context) {
  const gone = new AbortController();
  const { signal } = gone;
  addEventListener("dragover", (event) => { event.preventDefault(); place.classList.add("receiving"); }, { signal });
  addEventListener("dragleave", (event) => { if (!event.relatedTarget) place.classList.remove("receiving"); }, { signal });
  addEventListener("drop", async (event) => {
    event.preventDefault();
    place.classList.remove("receiving");
    look(event.dataTransfer.files, go, context);
  }, { signal });
  return () => gone.abort();
}

/** Finds what looks like the first of these files, as far as it is a picture. */
async function look([file], go, context) {
  if (!file) return;
  toast("Looking for pictures like it…");
  try {
    go({ near: `picture:${await give(context.of, file)}`, order: "" });
  } catch (error) {
    toast(error.message);
  }
}

function pictureButton(go, context) {
  const box = h("input", { type: "file", accept: "image/*", hidden: true, "aria-label": "picture to search by", onchange: async () => {
    await look(box.files, go, context);
    box.value = "";
  } });
  return [h("button", { type: "button", class: "bypicture", title: "Find what looks like a picture of yours; it can be dropped on the page, too", onclick: () => box.click() }, "By picture"), box];
}

function searchBox(filter, go, context) {
  const byMeaning = context.overview.has.map ? h("select", { "aria-label": "search where", class: "where", onchange: () => box.focus() },
    h("option", { value: "text" }, "in captions"), h("option", { value: "near", selected: filter.near?.startsWith("text:") ?? false }, "by what is seen")) : null;
  const box = h("input", {
    id: "search", type: "search", placeholder: "Words, or a uid", maxLength: 1000, dir: "auto",
    value: filter.text ?? filter.uid ?? (filter.near?.startsWith("text:") ? filter.near.slice(5) : ""), "aria-label": "search captions or a uid", autocomplete: "off", spellcheck: false,
    onkeydown: (event) => {
      if (event.key !== "Enter") return;
      const text = box.value.trim();
      const uid = /^[0-9a-f]{8,32}$/.test(text);
      if (byMeaning?.value === "near") go({ near: text ? `text:${text}` : "", text: "", uid: "", order: "" });
      else go({ text: uid ? "" : text, uid: uid ? text : "" });
      box.blur();
    },
    onsearch: () => { if (!box.value) go({ text: "", uid: "" }); },
  });
  return h("span", { class: "search" }, byMeaning, h("span", { class: "words-box" }, box, h("kbd", {}, "/")), byMeaning ? pictureButton(go, context) : null);
}

function choose(label, value, options, change) {
  return h("select", { "aria-label": label, class: value ? "set" : "", onchange: (event) => change(event.target.value) },
    h("option", { value: "" }, label),
    options.map(([of, text]) => h("option", { value: of, selected: of === value, dir: "auto" }, text)));
}

function fates(filter, go, context) {
  const { groups, decided } = context.overview;
  const blocked = (g) => g.cause.startsWith("blocked");
  const options = [
    ...(decided ? [["kept||", "kept"]] : [["ingested||", "readable"]]),
    ["dropped||", "dropped, all"], ["quarantined||", "quarantined, all"],
    ...groups.filter((g) => g.stage && !blocked(g)).map((g) => [`${g.status}|${g.stage}|${g.cause}`, `${words(g.stage)}: ${words(g.cause)}`]),
  ];
  const value = filter.status ? [filter.status, filter.stage ?? "", filter.cause ?? ""].join("|") : "";
  return choose("any fate", value, options, (text) => {
    const [status, stage, cause] = text.split("|");
    go({ status, stage: stage ?? "", cause: cause ?? "" });
  });
}

/** A corpus is of one family; an address may ask for another. */
function family(filter, go, context) {
  const { family: own, samples } = context.overview;
  const others = filter.family && filter.family !== own ? [[filter.family, `${filter.family} (0)`]] : [];
  return choose("any family", filter.family ?? "", [[own, `${own} (${number(samples)})`], ...others], (text) => go({ family: text }));
}

/** To a place in the order, however far. */
function jump(total, at, go) {
  const box = h("input", { type: "number", min: 1, max: total, step: 1, value: at, "aria-label": "go to sample number" });
  return h("form", { class: "jump", onsubmit: (event) => { event.preventDefault(); if (box.value) go({ from: box.value }); } },
    h("label", { class: "soft small" }, "from number ", box), h("button", {}, "Go"));
}

function language(filter, go, context) {
  const { languages } = offered[context.of];
  if (!languages.length) return null;
  return choose("any language", filter.language ?? "", languages.map((l) => [l.value, `${l.value} (${number(l.samples)})`]), (text) => go({ language: text }));
}

function cluster(filter, go, context) {
  const { clusters } = offered[context.of];
  if (!clusters.length) return null;
  return choose("any cluster", filter.cluster ?? "", clusters.map((c) => [String(c.value), `cluster ${c.value} (${number(c.samples)})`]), (text) => go({ cluster: text }));
}

function concept(filter, go, context) {
  const { concepts } = offered[context.of];
  if (!concepts.length) return null;
  const box = h("input", {
    type: "text", list: "concepts", placeholder: "any concept", "aria-label": "concept", dir: "auto", autocomplete: "off",
    value: concepts.find((c) => c.value === filter.concept)?.name ?? filter.concept ?? "",
    class: filter.concept ? "set" : "",
    onchange: () => {
      const named = concepts.find((c) => c.name === box.value);
      if (named || !box.value) go({ concept: named?.value ?? "" });
    },
  });
  const list = h("datalist", { id: "concepts" });
  const fillList = () => list.childElementCount || list.append(...concepts.slice(0, 20000).map((c) => h("option", { value: c.name })));
  box.addEventListener("focus", fillList, { once: true });
  return h("span", { class: "concept" }, box, list);
}

function order(filter, go, context) {
  const measures = context.overview.measures;
  const options = [["?", "mixed"], ...measures.flatMap((m) => [[m.name, `${words(m.name)}, low first`], [`-${m.name}`, `${words(m.name)}, high first`]])];
  return choose("shard order", filter.order ?? "", options, (text) => go({ order: text }));
}

function range(filter, go, context) {
  const measures = context.overview.measures;
  const name = h("select", { "aria-label": "measure" }, measures.map((m) => h("option", { value: m.name }, words(m.name))));
  const low = h("input", { type: "number", step: "any", placeholder: "from", "aria-label": "from" });
  const high = h("input", { type: "number", step: "any", placeholder: "to", "aria-label": "to" });
  const add = () => {
    if (low.value || high.value) go({ range: [...(filter.range ?? []), `${name.value}:${low.value}:${high.value}`] });
  };
  for (const box of [low, high]) box.addEventListener("keydown", (event) => { if (event.key === "Enter") add(); });
  return h("details", { class: "range" }, h("summary", {}, "+ measure between"),
    h("span", { class: "row" }, name, low, high, h("button", { type: "button", onclick: add }, "Apply")));
}

function chips(filter, go, context) {
  const said = [];
  const chip = (text, change) => said.push(h("button", { type: "button", class: "chip", title: "Remove", onclick: () => go(change) }, text, h("span", { "aria-hidden": "true" }, " ×")));
  if (filter.status) chip([filter.status, filter.stage ? ` by ${words(filter.stage)}` : "", filter.cause ? `: ${words(filter.cause)}` : ""], { status: "", stage: "", cause: "" });
  if (filter.family) chip(`family ${filter.family}`, { family: "" });
  if (filter.text) chip(["says ", strange(filter.text)], { text: "" });
  if (filter.uid) chip(`uid ${filter.uid}`, { uid: "" });
  if (filter.language) chip(`in ${filter.language}`, { language: "" });
  if (filter.cluster) chip(`cluster ${filter.cluster}`, { cluster: "" });
  if (filter.concept) chip(["concept ", strange(offered[context.of].concepts.find((c) => c.value === filter.concept)?.name ?? filter.concept)], { concept: "" });
  if (filter.near) {
    const [kind, ...rest] = filter.near.split(":");
    chip(["nearest to ", kind === "text" ? strange(rest.join(":")) : kind === "at" ? "a sample" : "your picture"], { near: "" });
    said.push(caution(context));
  }
  for (const text of filter.range ?? []) {
    const [name, low, high] = text.split(":");
    chip(`${low ? `${low} ≤ ` : ""}${words(name)}${high ? ` ≤ ${high}` : ""}`, { range: filter.range.filter((other) => other !== text) });
  }
  return said;
}
