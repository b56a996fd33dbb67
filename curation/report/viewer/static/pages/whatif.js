// Thresholds moved by hand, the corpus recounted at once.

import { ask, link } from "../api.js";
import { copy, h, number, percent, put, words } from "../dom.js";
import { Histogram, legend } from "../histogram.js";
import { tileLink } from "../tile.js";

export async function render(place, params, context) {
  const page = new WhatIf(place, params, context);
  await page.start();
  return page;
}

/** Thresholds that an address has moved, by rule; null where it moves none. */
function told(params, rules) {
  const found = {};
  for (const text of params.getAll("set")) {
    const cut = text.lastIndexOf(":");
    const rule = rules.find((one) => one.name === text.slice(0, cut));
    const value = Number(text.slice(cut + 1));
    if (rule && text.length > cut + 1 && Number.isFinite(value) && value !== rule.threshold) found[rule.name] = value;
  }
  return Object.keys(found).length ? found : null;
}

class WhatIf {
  constructor(place, params, context) {
    this.context = context;
    this.of = context.of;
    this.measures = context.overview.measures;
    this.rules = this.measures.flatMap((m) => m.rules);
    this.settings = (context.settings[this.of] = told(params, this.rules) ?? context.settings[this.of] ?? {});
    const asked = params.get("measure");
    this.measure = this.measures.find((m) => m.name === asked)
      ?? this.measures.find((m) => m.name === "clip_score" && m.rules.length)
      ?? this.measures.find((m) => m.rules.length) ?? this.measures[0];
    this.list = h("nav", { class: "measures", "aria-label": "measures" });
    this.chart = h("div", { class: "chart" });
    this.answer = h("div", { class: "answer", "aria-live": "polite" });
    this.strips = h("div", { class: "strips" });
    this.flags = h("section", { class: "panel flags" });
    place.append(
      h("h1", {}, "What if a threshold were another?"),
      h("p", { class: "soft lead" }, "Drag a line. Nothing is scored again: the measures of every sample are counted anew."),
      h("div", { class: "bench" }, this.list, h("div", { class: "work" }, this.chart, this.answer, this.strips)), this.flags);
  }

  async start() {
    if (!this.measure) { put(this.chart, h("p", { class: "empty" }, "Nothing is measured yet.")); return; }
    this.drawList();
    this.drawFlags();
    if (this.moved.length) this.keep();
    put(this.chart, h("p", { class: "loading" }, "Counting…"));
    const said = await ask("histogram", { of: this.of, measure: this.measure.name });
    this.draw(said);
  }

  close() {
    this.asking?.abort();
    this.stripping?.abort();
    clearTimeout(this.soon);
    clearTimeout(this.keeping);
  }

  now(rule) { return this.settings[rule.name] ?? rule.threshold; }

  changed() { return this.rules.filter((r) => r.name in this.settings && this.settings[r.name] !== r.threshold); }

  draw(said) {
    const { measure } = this;
    const head = h("div", { class: "charthead" },
      h("h2", {}, words(measure.name)), h("span", { class: "soft" }, measure.meaning));
    if (!said.edges.length) {
      put(this.chart, head, h("p", { class: "empty" }, "No sample has a value."));
      return;
    }
    const rules = measure.rules.map((rule) => ({ ...rule, now: this.now(rule) }));
    this.histogram = new Histogram(said, rules, (rule, value) => this.move(rule, value));
    this.histogram.chosen = (rule) => this.choose(rule);
    const steep = h("input", { type: "checkbox", onchange: () => { this.histogram.steep = steep.checked; this.histogram.paint(); } });
    put(this.chart, head, this.histogram.svg,
      h("div", { class: "chartfoot" }, legend(), h("label", { class: "soft small" }, steep, " log counts"),
        h("span", { class: "soft small" }, this.outside(said))));
    this.boxes = rules.map((rule) => this.box(rule));
    if (rules.length) this.chart.append(h("div", { class: "boxes" }, this.boxes));
    else this.chart.append(h("p", { class: "soft" }, "The recipe holds no threshold against this measure. ",
      h("a", { href: link("gallery", { of: this.of, order: measure.name }) }, "See its samples, low first")));
    if (rules.length) this.choose(rules[0]);
  }

  outside(said) {
    const parts = [];
    if (said.below) parts.push(`${number(said.below)} below`);
    if (said.above) parts.push(`${number(said.above)} above the axis (to ${number(said.maximum)})`);
    if (said.missing) parts.push(`${number(said.missing)} without a value`);
    return parts.join(" · ");
  }

  box(rule) {
    const field = h("input", {
      type: "number", step: "any", value: rule.now, "aria-label": rule.name, "data-rule": rule.name,
      oninput: () => {
        const value = Number(field.value);
        if (field.value === "" || !Number.isFinite(value)) return;
        this.histogram.set(rule, value);
        this.move(rule, value);
      },
      onfocus: () => this.choose(rule),
    });
    rule.field = field;
    return h("label", { class: "rule" }, h("span", {}, words(rule.reason)), h("span", { class: "soft" }, rule.kind === "at_least" ? "≥" : "≤"), field,
      h("button", { class: "quiet small", type: "button", onclick: () => { this.histogram.set(rule, rule.threshold); this.move(rule, rule.threshold); } }, `recipe: ${number(rule.threshold)}`),
      rule.source ? h("span", { class: "soft small" }, rule.source) : null);
  }

  choose(rule) {
    if (this.chosen?.name === rule.name && this.answered) return;
    this.chosen = rule;
    this.histogram.choose(rule.name);
    this.recount();
  }

  move(rule, value) {
    if (value === rule.threshold) delete this.settings[rule.name];
    else this.settings[rule.name] = value;
    if (document.activeElement !== rule.field) rule.field.value = value;
    this.chosen = rule;
    this.histogram.choose(rule.name);
    this.recount();
    this.drawList();
    this.drawFlags();
    clearTimeout(this.keeping); // browsers count how often an address changes
    this.keeping = setTimeout(() => this.keep(), 200);
  }

  get moved() { return Object.entries(this.settings).map(([name, value]) => `${name}:${value}`); }

  address(measure) {
    return link("whatif", { of: this.of === "a" ? undefined : this.of, measure: measure.name, set: this.moved });
  }

  /** What is moved stands in the address, so that a reload or somebody else finds it so. */
  keep() { history.replaceState(null, "", this.address(this.measure)); }

  asked() {
    return { of: this.of, moved: this.chosen.name, set: this.moved };
  }

  async recount() {
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    this.asking = new AbortController();
    try {
      const rule = this.chosen;
      const said = await ask("recount", this.asked(), this.asking.signal);
      this.answered = true;
      this.say(rule, said);
    } finally {
      this.busy = false;
    }
    if (this.again) { this.again = false; this.recount(); return; }
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.drawStrips(), 180);
  }

  say(rule, said) {
    const change = said.kept - said.was;
    const figure = (name, count, note, kind = "") => h("div", { class: `figure ${kind}` },
      h("span", { class: "name" }, name), h("span", { class: "count", "data-figure": name }, number(count)), h("span", { class: "note soft" }, note));
    put(this.answer,
      figure("break this rule", said.fails, `${percent(said.fails, said.readable)} of ${number(said.readable)} readable samples`),
      figure("only this rule stops", said.only, "nothing else stands against them"),
      figure("kept, all together", said.kept, change === 0 ? "as the recipe keeps" : `${change > 0 ? "+" : "−"}${number(Math.abs(change))} against ${number(said.was)}`, change > 0 ? "more" : change < 0 ? "less" : ""),
      h("p", { class: "soft small fixed" },
        said.newly_kept ? `${number(said.newly_kept)} would be let in and ${number(said.newly_dropped)} would go. ` : said.newly_dropped ? `${number(said.newly_dropped)} would go. ` : "",
        "Exact for thresholds. What every stage took that is no threshold of one sample (de-duplication, caption frequency, decontamination, balance, a top fraction by CLIP score, blocklists) is held fixed: they have not looked at samples that are let in, and twins of samples that go stay dropped. Run the recipe for those."));
  }

  async drawStrips() {
    this.stripping?.abort();
    this.stripping = new AbortController();
    const rule = this.chosen;
    const said = await ask("strip", this.asked(), this.stripping.signal);
    const row = (title, tiles) => h("section", { class: "side" }, h("h3", {}, title),
      tiles.length ? h("div", { class: "strip" }, tiles.map((tile) => tileLink(this.context, tile, { note: number(tile.value) })))
        : h("p", { class: "empty" }, "None: no sample is here that nothing else stops."));
    const at = `${rule.kind === "at_least" ? "≥" : "≤"} ${number(rule.now)}`;
    put(this.strips, row(`Just failing ${at}`, said.failing), row(`Just passing ${at}`, said.passing));
  }

  drawList() {
    const entry = (m) => h("a", {
      href: this.address(m), "aria-current": m === this.measure ? "true" : undefined,
      class: m.rules.some((r) => this.now(r) !== r.threshold) ? "changed" : "",
    }, words(m.name), h("span", { class: "soft small" }, m.rules.length > 2 ? `${m.rules.length} lines` : m.rules.map((r) => `${r.kind === "at_least" ? "≥" : "≤"} ${number(this.now(r))}`).join(" ")));
    const ruled = this.measures.filter((m) => m.rules.length), rest = this.measures.filter((m) => !m.rules.length);
    const open = this.list.querySelector("details")?.open || !this.measure.rules.length;
    put(this.list, ruled.map(entry), rest.length ? h("details", { open }, h("summary", { class: "soft" }, "without a threshold"), rest.map(entry)) : null);
  }

  drawFlags() {
    const flags = this.changed().map((r) => `--set ${r.flag}=${this.settings[r.name]}`).join(" ");
    this.flags.hidden = !flags;
    if (!flags) return;
    put(this.flags, h("div", { class: "line" },
      h("h2", { title: "Append it to curate run or curate decide: every measure is reused" }, "As recipe"), h("code", { id: "flags" }, flags),
      h("button", { onclick: () => copy(flags) }, "Copy"),
      h("button", { class: "quiet", onclick: () => { for (const name of Object.keys(this.settings)) delete this.settings[name]; this.keep(); this.close(); dispatchEvent(new HashChangeEvent("hashchange")); } }, "Reset all")));
  }
}
