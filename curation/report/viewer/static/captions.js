// Original and new caption side by side: what differs, which facts are stated, which one was chosen.

import { h, number, strange, words } from "./dom.js";

/** `said` is what the server compared. */
export function compared(said) {
  return h("section", { class: "panel captions" }, h("h2", {}, "Original and new caption"),
    choice(said.choice),
    h("div", { class: "pair" }, side("Original", said.old, "old"), side("New", said.new, "new")),
    said.cut ? h("p", { class: "soft small" }, `${number(said.cut)} more characters of the new caption are not shown.`) : null,
    legend(), repaired(said.choice), sentences(said.sentences));
}

// An export takes as many of the chosen ones as its setting says, none by default (training.js shows what it wrote).
const CHOSEN = {
  new: "The new caption was chosen, as it was written: it would go on where an export takes new ones.",
  repaired: "The new caption was chosen, without the sentences that failed: it would go on where an export takes new ones.",
  original: "The original caption was chosen.",
};

function choice(made) {
  if (!made) return null;
  const held = made.value === null || made.threshold === null ? "" : ` (${number(made.value)}, held against ${number(made.threshold)})`;
  return h("p", { class: `choice ${made.choice}` }, CHOSEN[made.choice] ?? words(made.choice),
    made.reason ? h("span", { class: "soft" }, ` ${words(made.reason)}${held}`, made.detail ? [" ", strange(made.detail)] : null) : null);
}

function repaired(made) {
  if (!made?.repaired) return null;
  return h("div", { class: "repaired" }, h("h3", {}, "What would go on"), h("p", { class: "text" }, strange(made.repaired)));
}

function side(title, runs, name) {
  return h("div", { class: `side-${name}` }, h("h3", {}, title),
    h("p", { class: "text" }, runs.length ? runs.map((run) => piece(run, name)) : h("i", {}, "none")));
}

function piece(run, name) {
  const tag = run.both ? "span" : name === "old" ? "del" : "ins";
  const made = h(tag, { class: run.both ? "both" : "" }, strange(run.text));
  if (!run.fact) return made;
  const said = { new: ["the original states it", "the original does not state it"], old: ["the new caption kept it", "the new caption lost it"] }[name];
  const { kind, supported } = run.fact;
  return h("mark", { class: `fact ${supported ? "yes" : "no"}`, title: `${words(kind)}: ${said[supported ? 0 : 1]}` }, made);
}

function legend() {
  const key = (sign, text) => h("span", { class: "key" }, sign, ` ${text}`);
  return h("p", { class: "soft small legend" },
    key(h("del", {}, "words"), "only in the original"), key(h("ins", {}, "words"), "only in the new one"),
    key(h("mark", { class: "fact yes" }, "fact"), "stated by both"), key(h("mark", { class: "fact no" }, "fact"), "lost, or stated by the new one alone"));
}

/** What was said of each sentence; nothing where nothing was. */
function sentences(all) {
  if (!all.some((s) => s.flags.length || s.yes !== null || s.clip !== null || s.failed)) return null;
  const asked = all.some((s) => s.yes !== null), scored = all.some((s) => s.clip !== null);
  return h("div", { class: "sentences", tabIndex: 0, role: "group", "aria-label": "sentences of the new caption" }, h("table", {},
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "Sentence"),
      asked ? [h("th", { scope: "col", class: "value" }, "P(yes)"), h("th", { scope: "col", class: "value" }, "P(no)")] : null,
      scored ? h("th", { scope: "col", class: "value" }, "CLIP") : null, h("th", { scope: "col" }, "Found"))),
    h("tbody", {}, all.map((s) => h("tr", { class: s.failed ? "fails" : "" },
      h("td", {}, strange(s.text)),
      asked ? [h("td", { class: "value" }, share(s.yes)), h("td", { class: "value" }, share(s.no))] : null,
      scored ? h("td", { class: "value" }, share(s.clip)) : null,
      h("td", {}, s.failed ? h("span", { class: "held no" }, `${words(s.failed.reason)} ✕`) : s.flags.map(words).join(", ") || h("span", { class: "held yes" }, "✓")))))));
}

const share = (value) => value === null ? "–" : value.toFixed(2);
