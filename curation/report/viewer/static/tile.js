// One sample in a grid or a strip.

import { image, link } from "./api.js";
import { h, number, strange, words } from "./dom.js";
import { placeOf } from "./opinions.js";

export function picture(of, tile, side, props = {}) {
  const place = h("span", { class: "picture", ...props });
  const nothing = (why) => place.replaceChildren(h("span", { class: "none" }, why));
  if (tile.why_not) nothing(tile.why_not);
  else {
    place.append(h("img", {
      src: image(of, tile.at, side), alt: "", loading: "lazy", decoding: "async", draggable: false,
      onerror: () => nothing("not shown"),
    }));
  }
  return place;
}

export function fate(tile) {
  if (tile.status === "dropped" || tile.status === "quarantined")
    return h("span", { class: `fate ${tile.status}` }, words(tile.cause || tile.status));
  return h("span", { class: `fate ${tile.status}` }, tile.status);
}

/** The sample page steps through what the filter `within` finds, or through the positions `among`. */
export function tileLink(context, tile, { within = {}, among = [], side = 240, note = "" } = {}) {
  const of = within.of ?? context.of;
  const opinion = context.opinions(of).of(tile);
  return h("a", {
    class: "tile", href: link("sample", { ...within, of, among: among.join(" "), at: tile.at }), "data-at": tile.at,
    "data-place": placeOf(tile), "data-uid": tile.uid, "data-opinion": opinion,
  },
  picture(of, tile, side),
  h("span", { class: "caption" }, tile.caption ? strange(tile.caption) : h("i", {}, "no caption")),
  tile.ranked?.length ? h("span", { class: "ranked soft" }, tile.ranked.map((one, n) => [n ? " · " : "", `${words(one.name)} ${number(one.value)}`])) : null,
  h("span", { class: "line" }, fate(tile), h("span", { class: "verdict", title: note || tile.verdict }, note || strange(tile.verdict))));
}

/** Of the one that a stage kept of a group: whether it is kept still. */
export function stayed(tile, stays = "stays") {
  if (tile.status !== "dropped" && tile.status !== "quarantined") return stays;
  return `stayed here, later ${tile.status} by ${words(tile.stage || tile.cause)}`;
}

export const size = (tile) => (tile.width ? `${number(tile.width)} × ${number(tile.height)}` : "");
