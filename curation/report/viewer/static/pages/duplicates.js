// Groups of twins side by side, the one that stays first.

import { ask, link } from "../api.js";
import { h, number, put, words } from "../dom.js";
import { stayed, tileLink } from "../tile.js";

const PAGE = 8;

export async function render(place, params, context, left) {
  const of = context.of === "a" ? undefined : context.of;
  const stages = await ask("twins", { of: context.of });
  place.append(h("h1", {}, "Duplicates"));
  if (!stages.length) {
    place.append(h("p", { class: "empty" }, "No stage dropped a sample in favour of another."));
    return {};
  }
  const stage = stages.find((one) => one.stage === params.get("stage")) ?? stages.reduce((a, b) => (b.samples > a.samples ? b : a));
  place.append(
    h("p", { class: "soft lead" }, "The largest groups first. The one marked stayed, the others were dropped in its favour; a later stage may have dropped it too, which its mark says.", stage.keeps ? ` Of twins the one stays that is highest by ${stage.keeps}: each tile says its own. Of equals the one that is first by uid.` : ""),
    h("nav", { class: "tabs", "aria-label": "stages" }, stages.map((one) => h("a", { href: link("duplicates", { of, stage: one.stage }), "aria-current": one === stage ? "true" : undefined },
      words(one.stage), h("span", { class: "soft" }, ` ${number(one.samples)} in ${number(one.groups)} group${one.groups === 1 ? "" : "s"}`)))));
  const list = h("div", { class: "groups" });
  const more = h("button", { onclick: () => load() }, "More groups");
  const waiting = h("p", { class: "loading" }, "Grouping…");
  more.hidden = true;
  place.append(waiting, list, more);
  let shown = 0;
  const load = async () => {
    more.disabled = true;
    const groups = await ask("groups", { of: context.of, stage: stage.stage, offset: shown, limit: PAGE });
    list.append(...groups.map((group) => card(group, stage, context)));
    shown += groups.length;
    more.disabled = false;
    more.hidden = shown >= stage.groups || groups.length < PAGE;
  };
  do await load(); while (shown < (left?.kept?.shown ?? 0) && !more.hidden);
  waiting.remove();
  return { kept: () => ({ shown }) };
}

function card(group, stage, context) {
  const missing = group.twins - group.members.length;
  const among = [group.best, ...group.members].filter(Boolean).map((tile) => tile.at);
  return h("article", { class: "panel group" },
    h("div", { class: "strip" },
      group.best ? h("div", { class: group.best.status === "kept" ? "head" : "head later" }, h("p", { class: "tag" }, stayed(group.best)), tileLink(context, group.best, { among }))
        : h("p", { class: "empty" }, "The one that stays is not shown."),
      group.members.map((tile) => h("div", {}, h("p", { class: "tag soft" }, "dropped"), tileLink(context, tile, { among })))),
    missing > 0 ? h("p", { class: "soft small" }, `and ${number(missing)} more`) : null);
}
