// Header, addresses and keys; each page is a module of its own.

import { ask, filterOf, here, link } from "./api.js";
import { h, put, strange, toast } from "./dom.js";
import { labelsButton } from "./labels.js";
import { Opinions, onOpinion } from "./opinions.js";
import * as clusters from "./pages/clusters.js";
import * as compare from "./pages/compare.js";
import * as concepts from "./pages/concepts.js";
import * as duplicates from "./pages/duplicates.js";
import * as funnel from "./pages/funnel.js";
import * as gallery from "./pages/gallery.js";
import * as sample from "./pages/sample.js";
import * as whatif from "./pages/whatif.js";
import { arrive, restore, settled, watch } from "./places.js";
import { recall, turn as theme } from "./theme.js";

const PAGES = { funnel, gallery, whatif, concepts, clusters, duplicates, compare, sample };
const TITLES = {
  funnel: "Funnel", gallery: "Gallery", whatif: "What if", concepts: "Concepts",
  clusters: "Clusters", duplicates: "Duplicates", compare: "Compare",
};

class Context {
  constructor(views, overviews) {
    this.views = views.views;
    this.comparable = views.compare;
    this.overviews = overviews;
    const made = new Map(); // two decisions of one corpus share what was marked on its samples
    for (const o of Object.values(overviews)) if (!made.has(o.corpus)) made.set(o.corpus, new Opinions(o.corpus, o.sha256));
    this.opinion = Object.fromEntries(Object.entries(overviews).map(([of, o]) => [of, made.get(o.corpus)]));
    this.settings = {};
    this.of = "a";
    this.seen = null; // position of the sample that was last looked at
  }
  get overview() { return this.overviews[this.of]; }
  opinions(of) { return this.opinion[of]; }
}

let context, page, last = null, turn = 0;

const main = document.getElementById("main");

async function show() {
  const now = ++turn;
  const { page: asked, params } = here();
  const name = Object.hasOwn(PAGES, asked) ? asked : "funnel";
  if (!Object.hasOwn(context.views, params.get("of") ?? "")) params.delete("of");
  context.of = params.get("of") ?? "a";
  page?.close?.();
  page = null;
  const left = arrive(last ? titled(last) : "");
  if (left && last === "sample" && left.at !== undefined && context.seen) left.at = context.seen[context.of] ?? left.at;
  last = name;
  header(name);
  document.title = `${titled(name)} · ${context.views[context.of]}`;
  const place = h("div", { class: `page page-${name}` });
  put(main, place);
  scrollTo({ top: 0 });
  try {
    const made = await PAGES[name].render(place, params, context, left);
    if (now !== turn) { made?.close?.(); return; }
    page = made;
    settled(made?.kept);
    if (left && !made?.restored) restore(place, left);
    for (const event of early.splice(0)) press(event);
  } catch (error) {
    if (error.name === "AbortError" || now !== turn) return;
    early.length = 0;
    put(place, h("div", { class: "problem", role: "alert" }, h("h1", {}, "This cannot be shown"), h("p", {}, strange(error.message))));
  }
}

const titled = (name) => TITLES[name] ?? "Sample";

function header(name) {
  const has = context.overview.has;
  const there = {
    concepts: has.balance, clusters: has.map, duplicates: context.overview.decided, compare: context.comparable,
  };
  const tabs = Object.entries(TITLES).filter(([tab]) => there[tab] ?? true);
  const of = context.of === "a" ? undefined : context.of;
  put(document.getElementById("header"),
    h("a", { class: "brand", href: link("funnel", { of }) },
      h("span", { class: "mark", "aria-hidden": "true" }), strange(context.views[context.of].split("/").filter(Boolean).at(-1) ?? "corpus")),
    h("nav", { "aria-label": "pages" }, tabs.map(([tab, title]) =>
      h("a", { href: link(tab, { of }), "aria-current": tab === name ? "page" : undefined }, title))),
    h("span", { class: "tools" }, sides(name), labelsButton(context),
      h("button", { class: "quiet", title: "Light or dark", "aria-label": "light or dark", onclick: theme }, "◐"),
      h("button", { class: "quiet", title: "Keys", "aria-label": "keys", onclick: help }, "?")));
}

function sides(name) {
  const names = Object.entries(context.views);
  if (names.length < 2 || name === "compare") return null;
  return h("span", { class: "switch", role: "group", "aria-label": "corpus" }, names.map(([of, path]) =>
    h("a", {
      title: path, href: link(name === "sample" ? "gallery" : name, { of: of === "a" ? undefined : of }),
      "aria-current": of === context.of ? "true" : undefined,
    }, of.toUpperCase())));
}

const KEYS = [
  ["/", "search captions"], ["← → ↑ ↓", "move; on the map to the nearest sample there"], ["j, Shift J", "next, previous"],
  ["k", "keep"], ["d", "drop"], ["Enter", "open the sample"], ["Esc", "back to where it was opened"], ["?", "these keys"],
];

function help() {
  const dialog = h("dialog", { class: "help", onclose: () => dialog.remove() },
    h("h2", {}, "Keys"),
    h("dl", {}, KEYS.map(([key, does]) => [h("dt", {}, h("kbd", {}, key)), h("dd", {}, does)])),
    h("p", { class: "soft" }, "What you mark keep or drop stays in this browser until you save it as a labels file."),
    h("form", { method: "dialog" }, h("button", {}, "Close")));
  document.body.append(dialog);
  dialog.showModal();
}

function key(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches?.("input, textarea, select, [role=slider]");
  if (typing && event.key === "Escape") { event.target.blur(); return; }
  if (typing || document.querySelector("dialog[open]")) return;
  if (event.key === "?") help();
  else if (event.key === "/") search();
  else if (!press(event)) return;
  event.preventDefault();
}

// A key that is pressed while a page comes is for that page, never for the one before.
const early = [];
const AWAITED = new Set(["j", "J", "k", "d", "ArrowLeft", "ArrowRight"]);

function press(event) {
  if (!page) return AWAITED.has(event.key) && early.push({ key: event.key, shiftKey: event.shiftKey }) > 0;
  const before = location.hash;
  const taken = page.key?.(event);
  if (location.hash !== before || taken === "leaving") { page?.close?.(); page = null; }
  return taken;
}

function search() {
  const box = document.getElementById("search");
  if (box) { box.focus(); box.select(); return; }
  sessionStorage.setItem("search", "1");
  location.hash = link("gallery", filterOf(new URLSearchParams(context.of === "a" ? "" : "of=b")));
}

async function start() {
  recall();
  watch();
  try {
    const views = await ask("views");
    const names = Object.keys(views.views);
    const all = await Promise.all(names.map((of) => ask("overview", { of })));
    context = new Context(views, Object.fromEntries(names.map((of, n) => [of, all[n]])));
  } catch (error) {
    put(main, h("div", { class: "problem", role: "alert" }, h("h1", {}, "The corpus cannot be shown"), h("p", {}, error.message)));
    return;
  }
  onOpinion(() => document.getElementById("labels")?.replaceWith(labelsButton(context)));
  addEventListener("hashchange", show);
  addEventListener("keydown", key);
  addEventListener("unhandledrejection", (event) => {
    if (event.reason?.name === "AbortError") event.preventDefault(); // its page was left
    else toast(event.reason?.message ?? "something went wrong");
  });
  show();
}

start();
