// Everything known about one sample.

import { ask, filterOf, link } from "../api.js";
import { drawn } from "../blocks.js";
import { compared } from "../captions.js";
import { append, bytes, copy, h, number, put, strange, words } from "../dom.js";
import { onOpinion } from "../opinions.js";
import { instead, leave, opener, step } from "../places.js";
import { fate, size, stayed, tileLink } from "../tile.js";
import { training } from "../training.js";

export async function render(place, params, context) {
  const at = params.get("at") ?? "";
  const filter = filterOf(params);
  const among = (params.get("among") ?? "").split(" ").filter((one) => /^\d+$/.test(one)).map(Number);
  const [said, beside] = await Promise.all([
    ask("sample", { of: context.of, at }),
    among.includes(Number(at)) ? besides(among, Number(at)) : ask("neighbours", { ...filter, of: context.of, at }),
  ]);
  context.seen = { [context.of]: Number(at) };
  if (said.hidden) {
    put(place, h("div", { class: "problem" }, h("h1", {}, "Not shown"),
      h("p", {}, `A blocklist stopped this sample${said.stage ? ` (${words(said.stage)}: ${words(said.reason)})` : " at export"}. What a list names is never shown.`)));
    return {};
  }
  const to = (position) => link("sample", { ...filter, of: context.of, among: among.join(" "), at: position });
  const go = (position) => { if (position !== null) step(to(position)); };
  const gallery = link("gallery", { ...filter, of: context.of === "a" ? undefined : context.of, at });
  const { tile } = said;
  const mine = marks(tile, context);
  append(place, [
    h("h1", { class: "unseen" }, `Sample ${tile.uid}`),
    stepper(beside, to, gallery),
    h("div", { class: "two" },
      h("div", { class: "left" }, drawn(context.of, tile, said.blocks), mine.element),
      h("div", { class: "right" },
        h("div", { class: "panel caption" },
          h("p", { class: "line" }, fate(tile), tile.stage ? h("span", { class: "soft" }, `at ${words(tile.stage)}`) : null, h("span", { class: "verdict" }, strange(tile.verdict))),
          caption(said, context),
          h("p", { class: "soft small" }, [size(tile), `${number(said.length)} characters`].filter(Boolean).join(" · "))),
        stages(said))),
    said.captions ? compared(said.captions) : null,
    h("div", { class: "two" },
      h("div", { class: "left" }, conceptPanel(said, context), bytesPanel(said)),
      h("div", { class: "right" }, measures(said))),
    twins(said, context), training(said, context)]);
  return {
    close: mine.close,
    key: (event) => {
      if (event.key === "ArrowRight" || event.key === "j") go(beside.after);
      else if (event.key === "ArrowLeft" || event.key === "J") go(beside.before);
      else if (event.key === "k") mine.set("keep");
      else if (event.key === "d") mine.set("drop");
      else if (event.key === "Escape") { leave(gallery); return "leaving"; }
      else return false;
      return true;
    },
  };
}

/** The samples before and after one of a strip. */
function besides(among, at) {
  const nth = among.indexOf(at);
  return { nth, total: among.length, before: among[nth - 1] ?? null, after: among[nth + 1] ?? null };
}

function stepper(beside, to, gallery) {
  const arrow = (position, text, label) => position === null
    ? h("span", { class: "step none" }, text)
    : h("a", { class: "step", href: to(position), "aria-label": label, ...instead(() => step(to(position))) }, text);
  return h("div", { class: "stepper" },
    h("a", { class: "back", href: gallery, ...instead(() => leave(gallery)) }, `← ${opener() || "Gallery"}`),
    h("span", { class: "soft" }, beside.nth === null ? "" : `${number(beside.nth + 1)} of ${number(beside.total)}`),
    h("span", {}, arrow(beside.before, "‹", "previous sample"), arrow(beside.after, "›", "next sample")));
}

function marks(tile, context) {
  const opinions = context.opinions(context.of);
  const button = (label, key) => h("button", { class: `mark-${label}`, "data-label": label, onclick: () => opinions.set(tile, label) }, label, " ", h("kbd", {}, key));
  const element = h("div", { class: "marks", role: "group", "aria-label": "your opinion" },
    context.overview.has.map ? h("a", { href: link("gallery", { of: context.of === "a" ? undefined : context.of, near: `at:${tile.at}` }) }, "Find similar") : null,
    h("span", { class: "soft" }, "Your opinion"), button("keep", "k"), button("drop", "d"));
  const draw = () => {
    for (const made of element.querySelectorAll("button"))
      made.setAttribute("aria-pressed", String(opinions.of(tile) === made.dataset.label));
  };
  draw();
  return { element, close: onOpinion(draw), set: (label) => opinions.set(tile, label) };
}

function caption(said, context) {
  if (!said.length) return h("p", { class: "empty" }, "No caption.");
  const text = h("p", { class: "text" }, strange(said.text));
  if (said.personal) return [text, h("p", { class: "soft small" }, "Dropped for personal data: addresses and digits are made unreadable.")];
  if (said.whole) return text;
  const more = h("button", {
    class: "more", onclick: async () => {
      more.disabled = true;
      const { text: whole } = await ask("caption", { of: context.of, at: said.tile.at });
      put(text, strange(whole));
      text.classList.add("long");
      more.remove();
    },
  }, `Show all ${number(said.length)} characters`);
  return [text, more];
}

function stages(said) {
  const marks = { passed: "✓", fell: "✕", off: "–", "not reached": "·" };
  return h("section", { class: "panel" }, h("h2", {}, "Decisions"),
    said.stages.length ? null : h("p", { class: "empty" }, "Nothing is decided yet."),
    h("ol", { class: "path" }, said.stages.map((stage) => h("li", { class: stage.fate.replace(" ", "-"), title: stage.fate },
      h("span", { class: "sign", "aria-hidden": "true" }, marks[stage.fate]), words(stage.stage), h("span", { class: "unseen" }, ` ${stage.fate}`),
      stage.cause ? h("span", { class: "soft" }, ` ${words(stage.cause)}${stage.meaning ? `: ${stage.meaning}` : ""}`) : null))));
}

const SIGNS = { at_least: "≥", at_most: "≤" };

function measures(said) {
  const told = said.measures.filter((m) => m.value !== null);
  const row = (m) => h("tr", { class: m.rules.some((r) => r.fails) ? "fails" : "" },
    h("th", { scope: "row", title: m.meaning }, words(m.name)),
    h("td", { class: "value" }, value(m.value)),
    h("td", {}, m.rules.map((r) => h("span", { class: `held ${r.fails ? "no" : "yes"}`, title: r.name }, `${SIGNS[r.kind]} ${number(r.threshold)} `, r.fails ? "✕" : "✓"))),
    h("td", { class: "soft meaning" }, m.meaning));
  if (!told.length) return null;
  const ruled = told.filter((m) => m.rules.length), rest = told.filter((m) => !m.rules.length);
  return h("section", { class: "panel" }, h("h2", {}, "Measures"),
    h("table", { class: "measures" }, h("tbody", {}, ruled.map(row))),
    rest.length ? h("details", {}, h("summary", {}, `${rest.length} more, without a threshold`), h("table", { class: "measures" }, h("tbody", {}, rest.map(row)))) : null);
}

function value(v) {
  if (typeof v === "number") return number(v);
  if (typeof v === "boolean") return v ? "yes" : "no";
  return strange(typeof v === "string" ? v.slice(0, 300) : JSON.stringify(v).slice(0, 300));
}

function conceptPanel(said, context) {
  if (!said.concepts.length) return null;
  return h("section", { class: "panel" }, h("h2", {}, "Concepts"),
    h("p", { class: "soft small" }, "With the chance that balance gives each: common ones have less. One draw that succeeds keeps the sample."),
    h("ul", { class: "concepts" }, said.concepts.map((c) => h("li", {},
      h("a", { href: link("gallery", { of: context.of, concept: c.id }) }, strange(c.name)),
      c.p === undefined ? null : [
        h("span", { class: "chance", title: `${number(c.samples)} samples came, ${number(c.kept)} stayed` }, h("span", { vars: { width: `${100 * c.p}%` } })),
        h("span", { class: "soft" }, number(c.p))]))));
}

function bytesPanel(said) {
  return h("section", { class: "panel bytes" }, h("h2", {}, "Where it lies"),
    h("dl", {},
      h("dt", {}, "uid"), h("dd", {}, h("code", {}, said.tile.uid), h("button", { class: "quiet small", onclick: () => copy(said.tile.uid) }, "copy")),
      h("dt", {}, "place"), h("dd", {}, `shard ${said.tile.shard}, row ${said.tile.row}`),
      h("dt", {}, "tar"), h("dd", {}, h("code", {}, strange(said.tar))),
      said.members.map((m) => [h("dt", {}, strange(m.ext)), h("dd", {}, `${bytes(m.size)} at byte ${number(m.offset)}`)]),
      said.facts.map(([name, text]) => [h("dt", {}, strange(words(name))), h("dd", {}, strange(text, { class: "clip" }))])));
}

function twins(said, context) {
  const { best, members } = said.twins;
  if (!members.length) return null;
  const mine = said.tile.at;
  const among = [best, ...members].filter(Boolean).map((tile) => tile.at);
  return h("section", { class: "panel" }, h("h2", {}, "Its duplicates"),
    h("div", { class: "strip" },
      best ? h("div", { class: best.status === "kept" ? "head" : "head later" }, h("p", { class: "tag" }, stayed(best, best.at === mine ? "this one stays" : "stays")), tileLink(context, best, { among })) : null,
      members.map((tile) => h("div", { class: tile.at === mine ? "mine" : "" }, h("p", { class: "tag soft" }, tile.at === mine ? "this one" : words(tile.stage)), tileLink(context, tile, { among })))));
}
