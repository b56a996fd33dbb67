// Elements are made here and nowhere else: strangers' text only ever becomes a text node.

const SVG = "http://www.w3.org/2000/svg";

function fill(element, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "vars") for (const [k, v] of Object.entries(value)) element.style.setProperty(k, v);
    else if (name === "class") element.setAttribute("class", value);
    else if (name in element && !(element instanceof SVGElement) && name !== "list") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  append(element, children);
  return element;
}

export function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : String(child));
  }
}

export const h = (tag, props, ...children) => fill(document.createElement(tag), props, children);
export const s = (tag, props, ...children) => fill(document.createElementNS(SVG, tag), props, children);

export function put(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

// Direction marks and control characters, shown by their number instead of obeyed.
const INVISIBLE = /([\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff])/;

/** Somebody else's text: isolated, in its own direction, never markup. */
export function strange(text, props = {}) {
  const parts = String(text).split(INVISIBLE);
  const made = parts.map((part, n) =>
    n % 2 ? h("span", { class: "ctl" }, "U+" + part.codePointAt(0).toString(16).toUpperCase().padStart(4, "0")) : part);
  return h("bdi", { dir: "auto", ...props, class: `strange ${props.class ?? ""}`.trim() }, made);
}

const WHOLE = new Intl.NumberFormat("en-GB");

const HUGE = 1e12; // counts and bytes are told to the last digit, thresholds need not be

/** Whole numbers with separators, others with four significant digits, huge ones as 1.5e99. */
export function number(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size >= HUGE) return Number(value.toPrecision(4)).toExponential().replace("e+", "e");
  if (Number.isInteger(value)) return WHOLE.format(value);
  if (size >= 1000) return WHOLE.format(Math.round(value));
  return String(Number(value.toPrecision(4)));
}

export function percent(part, whole) {
  if (!whole) return "–";
  const share = (100 * part) / whole;
  if (share > 0 && share < 0.1) return "<0.1%";
  if (share > 99.9 && share < 100) return ">99.9%";
  return `${Number.isInteger(share) ? share : share.toFixed(1)}%`;
}

export function bytes(size) {
  for (const [unit, name] of [[1e12, "TB"], [1e9, "GB"], [1e6, "MB"], [1e3, "kB"]])
    if (size >= unit) return `${Number((size / unit).toPrecision(3))} ${name}`;
  return `${number(size)} bytes`;
}

export const words = (name) => String(name).replaceAll("_", " ");

export function toast(text) {
  const place = document.getElementById("toast");
  place.textContent = text;
  place.classList.add("on");
  clearTimeout(toast.timer);
  toast.timer = setTimeout(() => place.classList.remove("on"), 2600);
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    toast("Copied");
  } catch {
    toast("The browser does not allow copying here: select the text instead");
  }
}
