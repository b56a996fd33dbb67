// What a sample is drawn of: pictures with boxes over them, clips and texts, in reading order.

import { ask, frame, image } from "./api.js";
import { h, number, put, s, strange } from "./dom.js";

const SIDES = 999;
const COLOURS = ["#b3245a", "#1f5fa8", "#1b6c4d", "#8a4b08", "#6b3fa0", "#0b6470"]; // white reads on each
const ink = (n) => COLOURS[(n - 1) % COLOURS.length];

/** `blocks` as the server tells them, of the sample that `tile` is of. */
export function drawn(of, tile, blocks) {
  const place = h("div", { class: "blocks" });
  const light = (n, on) => {
    for (const one of place.querySelectorAll(`[data-box="${n}"]`)) one.classList.toggle("lit", on);
  };
  const lit = (n) => ({
    "data-box": n, onmouseenter: () => light(n, true), onmouseleave: () => light(n, false),
    onfocus: () => light(n, true), onblur: () => light(n, false),
  });
  const draw = { picture: (b) => picture(of, tile, b, lit), clip: (b) => clip(of, tile, b), words: (b) => text(b, lit) };
  place.append(...blocks.map((block) => draw[block.kind](block)));
  if (!blocks.length) place.append(h("div", { class: "large" }, h("span", { class: "none" }, tile.why_not ?? "no image")));
  return place;
}

function picture(of, tile, block, lit) {
  const place = h("div", { class: "large" });
  if (block.why_not) return put(place, h("span", { class: "none" }, block.why_not));
  const boxed = block.boxes.length && block.width && block.height;
  const frame = h("div", { class: boxed ? "frame boxed" : "frame", vars: boxed ? { "--ratio": block.width / block.height } : {} }, h("img", {
    src: image(of, tile.at, 1200, block.nth || undefined), alt: "", decoding: "async",
    onerror: () => put(place, h("span", { class: "none" }, "not shown: the image cannot be decoded")),
  }));
  if (block.boxes.length) frame.append(overlay(block.boxes, lit));
  return put(place, frame);
}

/** Boxes in thousandths of the sides, whatever size the picture is shown at. */
function overlay(boxes, lit) {
  const over = h("div", { class: "over" },
    s("svg", { viewBox: `0 0 ${SIDES} ${SIDES}`, preserveAspectRatio: "none", role: "img", "aria-label": `${boxes.length} boxes` },
      boxes.map(({ n, box: [x1, y1, x2, y2] }) => s("g", { ...lit(n), vars: { "--ink": ink(n) } },
        s("rect", { class: "halo", x: Math.min(x1, x2), y: Math.min(y1, y2), width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) }),
        s("rect", { class: "line", x: Math.min(x1, x2), y: Math.min(y1, y2), width: Math.abs(x2 - x1), height: Math.abs(y2 - y1) })))),
    boxes.map(({ n, box: [x1, y1, x2, y2] }) => h("span", { class: "boxname", vars: { left: `${(100 * Math.min(x1, x2)) / SIDES}%`, top: `${(100 * Math.min(y1, y2)) / SIDES}%`, "--ink": ink(n) }, ...lit(n) }, n)));
  return over;
}

/** Some frames of a video, beside what is known of all of them. */
function clip(of, tile, block) {
  const count = block.times.length;
  const span = count ? `, ${number(count)} frames from ${number(block.times[0])} to ${number(block.times[count - 1])} s` : "";
  const strip = h("div", { class: "frames" }, h("span", { class: "none" }, block.why_not ?? "Decoding…"));
  if (!block.why_not) drawFrames(strip, of, tile.at, block.nth);
  return h("div", { class: "video" }, h("p", { class: "soft small" }, `a video (${block.ext})${span}`), strip);
}

async function drawFrames(strip, of, at, nth) {
  const nothing = (why) => put(strip, h("span", { class: "none" }, `not shown: ${why}`));
  try {
    const said = await ask("frames", { of, at, nth });
    if (said.why_not) { nothing(said.why_not); return; }
    put(strip, said.times.map((seconds, n) => h("figure", {},
      h("img", { src: frame(of, at, nth, n), alt: "", decoding: "async" }), h("figcaption", {}, `${number(seconds)} s`))));
  } catch (error) {
    nothing(error.message);
  }
}

function text(block, lit) {
  return h("p", { class: `words ${block.learnt ? "learnt" : ""}`, title: block.learnt ? "learnt by the trainer" : "" },
    block.parts.map((part) => typeof part === "number"
      ? h("span", { class: "boxchip", tabIndex: 0, vars: { "--ink": ink(part) }, ...lit(part) }, part)
      : strange(part)));
}
