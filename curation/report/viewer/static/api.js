// Questions to the server, and addresses within the page.

export class Refused extends Error {}

export async function ask(path, params = {}, signal = undefined) {
  const answer = await fetch(`/api/${path}?${query(params)}`, { signal });
  const said = await answer.json().catch(() => ({ error: "the server gave no answer" }));
  if (!answer.ok) throw new Refused(said.error ?? "the server refused");
  return said;
}

/** Gives a picture to search by; the answer is the name of what is kept of it. */
export async function give(of, blob) {
  const answer = await fetch(`/api/picture?${query({ of })}`, { method: "POST", body: blob, headers: { "x-curate-view": "yes" } });
  const said = await answer.json().catch(() => ({ error: "the server gave no answer" }));
  if (!answer.ok) throw new Refused(said.error ?? "the server refused");
  return said.name;
}

export function query(params) {
  const made = new URLSearchParams();
  for (const [name, value] of Object.entries(params)) {
    if (Array.isArray(value)) for (const one of value) made.append(name, one);
    else if (value !== undefined && value !== null && value !== "") made.append(name, value);
  }
  return made.toString();
}

export const image = (of, at, side, nth) => `/image?${query({ of, at, side, nth })}`;

export const frame = (of, at, nth, number) => `/image?${query({ of, at, nth: nth || undefined, frame: number })}`;

export const link = (page, params = {}) => {
  const tail = query(params);
  return `#/${page}${tail ? `?${tail}` : ""}`;
};

export function here() {
  const [page, tail] = location.hash.replace(/^#\//, "").split("?");
  return { page: page || "funnel", params: new URLSearchParams(tail ?? "") };
}

const FIELDS = ["of", "family", "status", "stage", "cause", "text", "uid", "language", "concept", "cluster", "order", "near", "from"];

/** Of an address, what filters samples, and from which of them on they are shown. */
export function filterOf(params) {
  const found = {};
  for (const name of FIELDS) if (params.get(name)) found[name] = params.get(name);
  const ranges = params.getAll("range");
  if (ranges.length) found.range = ranges;
  return found;
}
