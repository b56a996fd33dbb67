// A training sample in tokens, with those that the trainer learns to say.

import { ask } from "./api.js";
import { h, number, put, strange, words } from "./dom.js";

/** `said` is a sample; null where it was not exported. */
export function training(said, context) {
  if (!said.training) return null;
  const place = h("div", { class: "tokenbox" }, h("p", { class: "loading" }, "Splitting it into tokens…"));
  ask("tokens", { of: context.of, at: said.tile.at })
    .then((told) => put(place, summary(told), h("div", { class: "parts" }, told.parts.map(part)), told.whole ? null : h("p", { class: "soft small" }, "It goes on; no more is counted.")))
    .catch((error) => put(place, h("p", { class: "soft" }, strange(error.message))));
  return h("section", { class: "panel training" }, h("h2", {}, "What the trainer reads"), place,
    h("details", {}, h("summary", {}, "JSON"), h("pre", { tabIndex: 0 }, strange(said.training.json))),
    h("p", { class: "soft small" }, strange(said.training.tar), ` at byte ${number(said.training.offset)}`));
}

function summary(told) {
  const whose = told.tokenizer ? ["the tokenizer in ", strange(told.tokenizer)] : "the small tokenizer that is shipped; name a model's own with --tokenizer";
  return [
    h("p", { class: "counts" }, h("b", {}, number(told.tokens)), " tokens, ", h("b", {}, number(told.learnt)), " of them learnt"),
    h("p", { class: "soft small legend" },
      key(h("span", { class: "token learnt" }, "learnt"), "the trainer learns to say it"), key(h("span", { class: "token" }, "read"), "it only reads it"),
      key(h("span", { class: "token special" }, "<…>"), "a special token")),
    h("p", { class: "soft small" }, "Split by ", whose, "."),
  ];
}

const key = (sign, text) => h("span", { class: "key" }, sign, ` ${text}`);

function part(said) {
  return h("div", { class: `part ${said.learnt ? "learnt" : ""}` },
    h("span", { class: "kind" }, words(said.type), h("span", { class: "soft small" }, ` ${number(said.tokens)}`)),
    h("div", { class: "tokens" }, said.pieces.map((piece) => token(piece, said)),
      said.more ? h("span", { class: "soft" }, ` … ${number(said.more)} more`) : null));
}

function token([text, ids, special, times], said) {
  const name = ids.map(number).join(" ");
  const kind = `token${said.learnt ? " learnt" : ""}${special ? " special" : ""}`;
  const shape = times > 1 && said.grid ? ` (${said.grid[1]} × ${said.grid[2]} patches)` : "";
  return h("span", { class: kind, title: name }, strange(text.replaceAll("\n", "⏎\n")), times > 1 ? h("b", {}, ` × ${number(times)}${shape}`) : null);
}
