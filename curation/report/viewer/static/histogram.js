// A histogram with thresholds that can be dragged.

import { h, number, s } from "./dom.js";

const WIDE = 920, TALL = 280, LEFT = 52, RIGHT = 16, TOP = 44, FOOT = 30;
const SHORT = new Intl.NumberFormat("en-GB", { notation: "compact", maximumSignificantDigits: 3 });

export class Histogram {
  /**
   * `rules`: name, kind, threshold of each line, and a note beside its value; `moved(rule, value)`
   * while a line is dragged.
   */
  constructor(said, rules, moved) {
    this.said = said;
    this.rules = rules;
    this.moved = moved;
    this.steep = false;
    this.held = false; // whether a line is being dragged
    this.low = said.edges[0];
    this.high = said.edges.at(-1);
    this.log = said.log && this.low > 0;
    this.svg = s("svg", { viewBox: `0 0 ${WIDE} ${TALL}`, class: "histogram", role: "group", "aria-label": "histogram" });
    this.bars = s("g");
    this.counts = s("g", { class: "axis counts" });
    this.lines = s("g");
    this.svg.append(this.counts, this.bars, this.axis(), this.lines);
    this.lever = new Map();
    for (const rule of rules) this.line(rule);
    this.paint();
  }

  x(value) {
    const at = this.log ? Math.log(Math.max(value, this.low) / this.low) / Math.log(this.high / this.low)
      : (value - this.low) / (this.high - this.low || 1);
    return LEFT + Math.min(1, Math.max(0, at)) * (WIDE - LEFT - RIGHT);
  }

  value(x) {
    const at = Math.min(1, Math.max(0, (x - LEFT) / (WIDE - LEFT - RIGHT)));
    return this.round(this.log ? this.low * (this.high / this.low) ** at : this.low + at * (this.high - this.low));
  }

  round(value) {
    if (this.said.integer) return Math.round(value);
    const span = this.log ? Math.abs(value) || 1 : this.high - this.low || 1;
    const step = 10 ** (Math.floor(Math.log10(span)) - 3);
    return Number((Math.round(value / step) * step).toPrecision(10));
  }

  paint() {
    const { edges, counts, kept } = this.said;
    const most = Math.max(1, ...counts);
    const scale = (n) => (this.steep ? Math.log1p(n) / Math.log1p(most) : n / most) * (TALL - TOP - FOOT);
    this.counts.replaceChildren(...this.countTicks(most).flatMap((count) => {
      const y = TALL - FOOT - scale(count);
      return [s("line", { class: "grid", x1: LEFT, x2: WIDE - RIGHT, y1: y, y2: y }),
        s("text", { x: LEFT - 8, y: y + 4, "text-anchor": "end" }, SHORT.format(count))];
    }), s("text", { x: 0, y: 12 }, "samples"));
    this.bars.replaceChildren();
    counts.forEach((n, k) => {
      const x0 = this.x(edges[k]), x1 = this.x(edges[k + 1]);
      const gap = x1 - x0 > 4 ? 1 : 0;
      const bar = (count, kind) => s("rect", { class: kind, x: x0 + gap / 2, width: Math.max(0.6, x1 - x0 - gap), y: TALL - FOOT - scale(count), height: scale(count) });
      const title = s("title", {}, `${number(edges[k])} to ${number(edges[k + 1])}: ${number(n)} samples, ${number(kept[k])} kept`);
      this.bars.append(s("g", {}, title, bar(n, "every"), bar(kept[k], "kept")));
    });
  }

  axis() {
    const group = s("g", { class: "axis" });
    group.append(s("line", { x1: LEFT, x2: WIDE - RIGHT, y1: TALL - FOOT, y2: TALL - FOOT }));
    for (const tick of this.ticks()) {
      const x = this.x(tick);
      group.append(s("line", { x1: x, x2: x, y1: TALL - FOOT, y2: TALL - FOOT + 5 }),
        s("text", { x, y: TALL - FOOT + 20, "text-anchor": x < 30 ? "start" : x > WIDE - 30 ? "end" : "middle" }, number(tick)));
    }
    return group;
  }

  /** Counts at which a line is drawn, up to `most`: powers of ten where the axis is steep. */
  countTicks(most) {
    if (this.steep) {
      const powers = Array.from({ length: Math.floor(Math.log10(most)) + 1 }, (_, k) => 10 ** k);
      return [0, ...powers.filter((_, k) => k % Math.ceil(powers.length / 4) === 0)];
    }
    const step = nice(Math.max(1, most / 4));
    return Array.from({ length: Math.floor(most / step) + 1 }, (_, k) => k * step);
  }

  ticks() {
    if (this.log) {
      const found = [];
      for (let power = Math.ceil(Math.log10(this.low)); 10 ** power <= this.high; power++) found.push(10 ** power);
      if (found.length > 2) return found;
      return found.flatMap((t) => [t, 2 * t, 5 * t]).concat(found.length ? [found[0] / 2, found[0] / 5] : []).filter((t) => t >= this.low && t <= this.high);
    }
    const step = nice((this.high - this.low) / 7 || 1);
    const found = [];
    for (let k = Math.ceil(this.low / step); k * step <= this.high; k++) {
      const tick = Number((k * step).toPrecision(10));
      if (!this.said.integer || Number.isInteger(tick)) found.push(tick);
    }
    return found;
  }

  line(rule) {
    const group = s("g", {
      class: "threshold", tabindex: 0, role: "slider", "aria-label": rule.name, "data-rule": rule.name,
      onpointerdown: (event) => this.grab(event, rule), onkeydown: (event) => this.nudge(event, rule),
      onfocus: () => this.chosen?.(rule),
    });
    const shade = s("rect", { class: "failing", y: TOP, height: TALL - TOP - FOOT });
    const was = s("line", { class: "was", y1: TOP, y2: TALL - FOOT, x1: this.x(this.mark(rule, rule.threshold)), x2: this.x(this.mark(rule, rule.threshold)) });
    const bar = s("line", { class: "bar", y1: TOP - 6, y2: TALL - FOOT });
    const grip = s("rect", { class: "grip", x: -14, y: TOP - 24, width: 28, height: TALL - TOP - FOOT + 24 });
    const knob = s("circle", { class: "knob", r: 7, cy: TOP - 8 });
    const label = s("text", { class: "label", y: TOP - 22 });
    group.append(shade, was, grip, bar, knob, label);
    this.lines.append(group);
    this.lever.set(rule.name, { group, shade, bar, grip, knob, label });
    this.set(rule, rule.now);
  }

  /** Where a threshold stands: between whole numbers, as bins end on halves. */
  mark(rule, value) {
    if (!this.said.integer) return value;
    return rule.kind === "at_least" ? Math.ceil(value) - 0.5 : Math.floor(value) + 0.5;
  }

  set(rule, value) {
    rule.now = value;
    const parts = this.lever.get(rule.name);
    const place = this.mark(rule, value);
    const x = this.x(place);
    const beyond = place < this.low ? "◂ " : place > this.high ? " ▸" : "";
    const least = rule.kind === "at_least";
    parts.shade.setAttribute("x", least ? LEFT : x);
    parts.shade.setAttribute("width", Math.max(0, least ? x - LEFT : WIDE - RIGHT - x));
    for (const name of ["x1", "x2"]) parts.bar.setAttribute(name, x);
    parts.grip.setAttribute("x", x - 14);
    parts.knob.setAttribute("cx", x);
    parts.label.setAttribute("x", x);
    parts.label.setAttribute("text-anchor", x < 60 ? "start" : x > WIDE - 60 ? "end" : "middle");
    const text = `${rule.note ? `${rule.note}, ` : ""}${least ? "≥" : "≤"} ${number(value)}`;
    parts.label.textContent = place < this.low ? beyond + text : text + beyond;
    parts.group.classList.toggle("beyond", beyond !== "");
    parts.group.setAttribute("aria-valuenow", Math.min(this.high, Math.max(this.low, value))); // the text says it whole
    parts.group.setAttribute("aria-valuemin", this.low);
    parts.group.setAttribute("aria-valuemax", this.high);
    parts.group.setAttribute("aria-valuetext", beyond ? `${text}, beyond the axis` : text);
    parts.group.classList.toggle("changed", value !== rule.threshold);
  }

  choose(name) {
    for (const [rule, parts] of this.lever) {
      parts.group.classList.toggle("chosen", rule === name);
      if (rule === name) this.lines.append(parts.group);
    }
  }

  grab(event, rule) {
    event.preventDefault();
    const { group } = this.lever.get(rule.name);
    this.chosen?.(rule);
    group.setPointerCapture(event.pointerId);
    this.held = true;
    const follow = (move) => {
      const box = this.svg.getBoundingClientRect();
      const value = this.value(((move.clientX - box.left) * WIDE) / box.width);
      if (value === rule.now) return;
      this.set(rule, value);
      this.moved(rule, value);
    };
    const stop = new AbortController();
    group.addEventListener("pointermove", follow, { signal: stop.signal });
    for (const end of ["pointerup", "pointercancel"]) group.addEventListener(end, () => { this.held = false; stop.abort(); }, { signal: stop.signal });
  }

  nudge(event, rule) {
    const way = { ArrowLeft: -1, ArrowDown: -1, ArrowRight: 1, ArrowUp: 1 }[event.key];
    if (!way) return;
    event.preventDefault();
    const pixels = event.shiftKey ? 40 : 4;
    let value = this.value(this.x(rule.now) + way * pixels);
    if (value === rule.now) value = this.round(rule.now + way * (this.said.integer ? 1 : 10 ** Math.floor(Math.log10(Math.abs(this.high - this.low) || 1) - 3)));
    this.set(rule, value);
    this.moved(rule, value);
  }
}

/** The next of 1, 2, 5 and their tenfolds. */
function nice(rough) {
  const power = 10 ** Math.floor(Math.log10(rough));
  return [1, 2, 5, 10].map((m) => m * power).find((m) => m >= rough);
}

export const legend = () => h("p", { class: "legend soft small" },
  h("span", { class: "swatch kept" }), "kept by the recipe ", h("span", { class: "swatch every" }), "all samples ",
  h("span", { class: "swatch failing" }), "would break the rule");
