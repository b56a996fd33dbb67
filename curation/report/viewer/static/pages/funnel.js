// What went in, what each stage took away and why.

import { link } from "../api.js";
import { bytes, h, number, percent, strange, words } from "../dom.js";

export function render(place, params, context) {
  const o = context.overview;
  const of = context.of === "a" ? undefined : context.of;
  const to = (filter) => link("gallery", { of, ...filter });
  place.append(
    h("h1", {}, o.decided
      ? [h("b", {}, number(o.kept)), " of ", number(o.samples), " samples kept"]
      : [number(o.samples), " samples, nothing decided yet"]),
    h("p", { class: "soft lead" }, strange(o.name), ` · ${o.family} · ${number(o.shards)} shard${o.shards === 1 ? "" : "s"} · ${bytes(o.bytes)}`,
      o.exported === null ? "" : ` · ${number(o.exported)} exported`),
    h("section", { class: "cards" },
      card(o.decided ? "kept" : "readable", o.kept, o.samples, to({ status: o.decided ? "kept" : "ingested" }), "kept"),
      card("dropped", o.dropped, o.samples, to({ status: "dropped" }), "dropped"),
      card("quarantined", o.quarantined, o.samples, to({ status: "quarantined" }), "quarantined")),
    balance(o));
  if (o.warnings.length) {
    place.append(h("section", { class: "warnings", "aria-label": "to know first" },
      o.warnings.map((warning) => h("p", {}, strange(warning)))));
  }
  place.append(h("section", { class: "panel stages" },
    h("h2", {}, "Stage by stage"),
    h("p", { class: "soft" }, "Each stage looks at what the one before left. A reason leads to its samples."),
    o.stages.map((stage, nth) => row(stage, nth, o, to))));
  place.append(facts(o));
}

function card(name, count, whole, href, kind) {
  return h("a", { class: `card ${kind}`, href },
    h("span", { class: "name" }, name), h("span", { class: "count" }, number(count)),
    h("span", { class: "share" }, percent(count, whole)));
}

function balance(o) {
  const bar = h("div", { class: "balance", role: "img", "aria-label": `${o.kept} kept, ${o.dropped} dropped, ${o.quarantined} quarantined` });
  for (const kind of ["kept", "dropped", "quarantined"])
    bar.append(h("span", { class: kind, vars: { "flex-grow": o[kind] } }));
  return bar;
}

function row(stage, nth, o, to) {
  const losses = stage.losses.filter((loss) => loss.count).sort((a, b) => b.count - a.count);
  const idle = stage.losses.filter((loss) => !loss.count);
  const lost = stage.entered - stage.kept;
  return h("article", { class: `stage ${stage.off ? "off" : ""}` },
    h("div", { class: "head" },
      h("h3", {}, words(stage.name)),
      h("span", { class: "soft small" }, stage.off ? "off" : strange(stage.settings)),
      h("span", { class: "numbers" }, stage.off ? "" : [
        h("span", { class: "lost" }, lost ? `−${number(lost)}` : "0"),
        h("span", { class: "left" }, `${number(stage.kept)} left`)])),
    h("div", { class: "flow", "aria-hidden": "true" },
      h("span", { class: "through", vars: { width: `${(100 * stage.kept) / (o.samples || 1)}%` } }),
      h("span", { class: "away", vars: { width: `${(100 * lost) / (o.samples || 1)}%` } })),
    stage.off && stage.off !== "not asked for" ? h("p", { class: "soft small" }, strange(stage.off)) : null,
    h("ul", { class: "losses" }, losses.map((loss) => h("li", {}, loss.reason.startsWith("blocked")
      ? h("span", { class: "loss" }, reason(loss), h("span", { class: "soft" }, "never shown"))
      : h("a", { class: "loss", href: to(loss.filter) }, reason(loss))))),
    idle.length ? h("details", {}, h("summary", { class: "soft small" }, `${idle.length} more rule${idle.length === 1 ? "" : "s"}, which dropped nothing`),
      h("p", { class: "small soft" }, idle.map((loss, n) => [n ? " · " : "", loss.rule || words(loss.reason)]))) : null);
}

function reason(loss) {
  return [
    h("span", { class: `dot ${loss.quarantined ? "quarantined" : "dropped"}` }),
    h("span", { class: "what" }, words(loss.reason)),
    h("span", { class: "count" }, number(loss.count)),
    h("span", { class: "soft rule" }, loss.rule ? [loss.rule, loss.source ? ` · ${loss.source}` : ""] : loss.source),
  ];
}

function facts(o) {
  return h("section", { class: "panel facts" }, h("h2", {}, "Which corpus this is"),
    h("dl", {}, o.facts.map(([name, value]) => [h("dt", {}, name), h("dd", {}, h("code", {}, value))])),
    o.unmeasured.length ? h("p", { class: "soft small" }, `Not measured: ${o.unmeasured.join("; ")}.`) : null);
}
