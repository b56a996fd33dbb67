// Thresholds moved by hand, the corpus recounted at once.

import { ask, link } from "../api.js";
import { copy, h, number, percent, put, strange, words } from "../dom.js";
import { Histogram, legend } from "../histogram.js";
import { rename } from "../places.js";
import { tileLink } from "../tile.js";

export async function render(place, params, context, left) {
  const page = new WhatIf(place, params, context, left?.kept?.rule);
  await page.start();
  return page;
}

const HEAD = 66; // what lies over the page when it is scrolled

/** What the recipe sets: of a top fraction the share that stays, not the score that it comes to. */
const own = (rule) => rule.share ?? rule.threshold;

const sign = (rule) => (rule.kind === "at_least" ? "≥" : "≤");

const limit = (rule, setting) => rule.share === null ? `${sign(rule)} ${number(setting)}` : `top ${number(100 * setting)}%`;

/** Thresholds that an address has moved, by rule; null where it moves none. */
function told(params, rules) {
  const found = {};
  for (const text of params.getAll("set")) {
    const cut = text.lastIndexOf(":");
    const rule = rules.find((one) => one.name === text.slice(0, cut));
    const value = Number(text.slice(cut + 1));
    if (rule && text.length > cut + 1 && Number.isFinite(value) && value !== own(rule)) found[rule.name] = value;
  }
  return Object.keys(found).length ? found : null;
}

class WhatIf {
  /** `first`: the rule to begin with, where it is known. */
  constructor(place, params, context, first) {
    this.first = first;
    this.at = null; // where a top fraction is dragged to, until the share is told
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
    this.fixed = h("p", { class: "soft small fixed" });
    this.flags = h("section", { class: "flags", "aria-label": "as recipe" });
    place.append(
      h("h1", {}, "What if a threshold were another?"),
      h("p", { class: "soft lead" }, context.overview.decided
        ? "Drag a line. Nothing is scored again: the measures of every sample are counted anew."
        : "Nothing is decided yet, so no line is drawn: these are the measures alone. curate decide holds the thresholds of a recipe against them."),
      h("div", { class: "bench" }, h("div", { class: "aside" }, this.flags, this.list),
        h("div", { class: "work" }, this.chart, this.answer, this.strips, this.fixed)));
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

  now(rule) { return this.settings[rule.name] ?? own(rule); }

  changed() { return this.rules.filter((r) => this.now(r) !== own(r)); }

  draw(said) {
    const { measure } = this;
    const head = h("div", { class: "charthead" },
      h("h2", {}, words(measure.name)), h("span", { class: "soft" }, measure.meaning));
    if (!said.edges.length) {
      put(this.chart, head, h("p", { class: "empty" }, "No sample has a value."));
      return;
    }
    // Where a top fraction stands that was moved, the first recount tells.
    const rules = measure.rules.map((rule) => ({ ...rule, now: rule.share === null ? this.now(rule) : rule.threshold, note: "" }));
    for (const rule of rules) this.name(rule);
    this.drawn = rules;
    this.histogram = new Histogram(said, rules, (rule, value) => this.drag(rule, value));
    this.histogram.chosen = (rule) => this.choose(rule);
    const steep = h("input", { type: "checkbox", onchange: () => { this.histogram.steep = steep.checked; this.histogram.paint(); } });
    put(this.chart, head, rules.length ? h("div", { class: "boxes" }, rules.map((rule) => this.box(rule))) : null, this.why(), this.histogram.svg,
      h("div", { class: "chartfoot" }, legend(), h("label", { class: "soft small" }, steep, " log counts"),
        h("span", { class: "soft small" }, this.outside(said))));
    if (rules.length) this.choose(rules.find((rule) => rule.name === this.first) ?? rules[0]);
  }

  /** Why there is no line, or not the one that somebody may look for. */
  why() {
    const { measure, context } = this;
    const idle = measure.idle.map((line) => h("p", { class: "idle soft" }, strange(line), ": it holds no threshold against this measure."));
    if (measure.rules.length) return idle;
    const none = !context.overview.decided ? "Nothing is decided yet: no threshold is held against this measure. "
      : idle.length ? "" : "The recipe holds no threshold against this measure. ";
    return [idle, h("p", { class: "idle soft" }, none, h("a", { href: link("gallery", { of: this.of, order: measure.name }) }, "See its samples, low first"))];
  }

  outside(said) {
    const parts = [];
    if (said.below) parts.push(`${number(said.below)} below`);
    if (said.above) parts.push(`${number(said.above)} above the axis (to ${number(said.maximum)})`);
    if (said.missing) parts.push(`${number(said.missing)} without a value`);
    return parts.join(" · ");
  }

  box(rule) {
    const share = rule.share !== null;
    const field = h("input", {
      type: "number", step: "any", value: this.now(rule), "aria-label": rule.name, "data-rule": rule.name,
      oninput: () => {
        const value = Number(field.value);
        if (field.value === "" || !Number.isFinite(value) || (share && !(value > 0 && value <= 1))) return;
        if (!share) this.histogram.set(rule, value);
        this.move(rule, value);
      },
      onfocus: () => this.choose(rule),
    });
    rule.field = field;
    const reset = () => { this.histogram.set(rule, rule.threshold); this.move(rule, own(rule)); };
    return h("label", { class: "rule" }, h("span", {}, words(share ? "top_fraction" : rule.reason)), share ? null : h("span", { class: "soft" }, sign(rule)), field,
      h("button", { class: "quiet small", type: "button", onclick: reset }, `recipe: ${number(own(rule))}`),
      share ? h("span", { class: "soft small" }, "of the scored samples that come to the stage, the best so many") : null,
      rule.source ? h("span", { class: "soft small" }, rule.source) : null);
  }

  choose(rule) {
    if (this.chosen?.name === rule.name && this.answered) return;
    this.chosen = rule;
    this.at = null;
    this.histogram.choose(rule.name);
    this.recount();
  }

  /** A line stands at `value` of its measure; which share a top fraction is then, the recount tells. */
  drag(rule, value) {
    this.led = true;
    if (rule.share === null) { this.move(rule, value); return; }
    this.chosen = rule;
    this.at = value;
    this.histogram.choose(rule.name);
    this.recount();
  }

  move(rule, value) {
    this.chosen = rule;
    this.at = null;
    this.led = true;
    this.histogram.choose(rule.name);
    this.set(rule, value);
    this.recount();
  }

  name(rule) { rule.note = rule.share === null ? "" : limit(rule, this.now(rule)); }

  /** Holds the threshold of a rule, as the recipe would set it. */
  set(rule, value) {
    if (value === own(rule)) delete this.settings[rule.name];
    else this.settings[rule.name] = value;
    if (document.activeElement !== rule.field) rule.field.value = value;
    this.name(rule);
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
  keep() { rename(this.address(this.measure)); }

  /** What is found again by who comes back. */
  get kept() { return () => ({ rule: this.chosen?.name }); }

  asked() {
    return { of: this.of, moved: this.chosen.name, set: this.moved, at: this.at };
  }

  async recount() {
    if (this.busy) { this.again = true; return; }
    this.busy = true;
    this.asking = new AbortController();
    try {
      const rule = this.chosen, { at } = this;
      const said = await ask("recount", this.asked(), this.asking.signal);
      this.answered = true;
      if (at !== null && this.at === at && this.chosen === rule) { this.at = null; this.set(rule, said.share); }
      this.stand(said.cuts);
      this.say(rule, said);
    } finally {
      this.busy = false;
    }
    if (this.again) { this.again = false; this.recount(); return; }
    clearTimeout(this.soon);
    this.soon = setTimeout(() => this.drawStrips(), 180);
  }

  /** Top fractions stand at the scores that they come to now, but the one that is held. */
  stand(cuts) {
    for (const rule of this.drawn)
      if (rule.share !== null && !this.histogram.held) this.histogram.set(rule, cuts[rule.name] ?? rule.now);
  }

  say(rule, said) {
    const change = said.kept - said.was;
    const figure = (name, count, note, kind = "") => h("div", { class: `figure ${kind}` },
      h("span", { class: "name" }, name), h("span", { class: "count", "data-figure": name }, number(count)), h("span", { class: "note soft" }, note));
    put(this.answer,
      figure("break this rule", said.fails, `${percent(said.fails, said.readable)} of ${number(said.readable)} readable samples`),
      figure("only this rule stops", said.only, "nothing else stands against them"),
      figure("kept, all together", said.kept, change === 0 ? "as the recipe keeps" : `${change > 0 ? "+" : "−"}${number(Math.abs(change))} against ${number(said.was)}`, change > 0 ? "more" : change < 0 ? "less" : ""));
    put(this.fixed,
        said.newly_kept ? `${number(said.newly_kept)} would be let in and ${number(said.newly_dropped)} would go. ` : said.newly_dropped ? `${number(said.newly_dropped)} would go. ` : "",
        "Exact for thresholds. What every stage took that is no threshold of one sample (de-duplication, caption frequency, decontamination, balance, blocklists) is held fixed: they have not looked at samples that are let in, and twins of samples that go stay dropped. Run the recipe for those.",
        this.rules.some((one) => one.share !== null) ? " A top fraction is taken anew of the samples that come to its stage." : "");
  }

  async drawStrips() {
    this.stripping?.abort();
    this.stripping = new AbortController();
    const rule = this.chosen;
    const strip = await ask("strip", { ...this.asked(), at: null }, this.stripping.signal);
    const row = (title, tiles) => h("section", { class: "side" }, h("h3", {}, title),
      tiles.length ? h("div", { class: "strip" }, tiles.map((tile) => tileLink(this.context, tile, { note: number(tile.value), among: tiles.map((one) => one.at) })))
        : h("p", { class: "empty" }, "None: no sample is here that nothing else stops."));
    const at = `${sign(rule)} ${number(rule.now)}`;
    put(this.strips, row(`Just failing ${at}`, strip.failing), row(`Just passing ${at}`, strip.passing));
    if (this.led) this.lead();
  }

  /** Scrolls so far that the strips of a line that was moved are seen, and its histogram still. */
  lead() {
    this.led = false;
    const hidden = this.strips.getBoundingClientRect().bottom + 10 - innerHeight;
    const room = this.histogram.svg.getBoundingClientRect().top - HEAD;
    if (hidden > 0 && room > 0) scrollBy({ top: Math.min(hidden, room) });
  }

  drawList() {
    const entry = (m) => h("a", {
      href: this.address(m), "aria-current": m === this.measure ? "true" : undefined,
      class: m.rules.some((r) => this.now(r) !== own(r)) ? "changed" : "",
    }, words(m.name), h("span", { class: "soft small" }, m.rules.length > 2 ? `${m.rules.length} lines` : m.rules.map((r) => limit(r, this.now(r))).join(" ")));
    const ruled = this.measures.filter((m) => m.rules.length), rest = this.measures.filter((m) => !m.rules.length);
    const open = this.list.querySelector("details")?.open || !this.measure.rules.length;
    put(this.list, ruled.map(entry), rest.length ? h("details", { open }, h("summary", { class: "soft" }, "without a threshold"), rest.map(entry)) : null,
      this.context.overview.idle.map((line) => h("p", { class: "soft small idle" }, strange(line), ", and what it looks at was not measured.")));
  }

  drawFlags() {
    const flags = this.changed().map((r) => `--set ${r.flag}=${this.settings[r.name]}`).join(" ");
    this.flags.hidden = !flags;
    if (!flags) return;
    put(this.flags,
      h("h2", { title: "Append it to curate run or curate decide: every measure is reused" }, "As recipe"), h("code", { id: "flags" }, flags),
      h("p", { class: "line" }, h("button", { class: "small", onclick: () => copy(flags) }, "Copy"),
      h("button", { class: "quiet small", onclick: () => { for (const name of Object.keys(this.settings)) delete this.settings[name]; this.keep(); this.close(); dispatchEvent(new HashChangeEvent("hashchange")); } }, "Reset all")));
  }
}
