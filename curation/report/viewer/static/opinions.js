// Keep and drop, as you see it: stays in this browser until it is saved as a file.

import { ask } from "./api.js";
import { toast } from "./dom.js";

const FORMER = "opinions:"; // marks were once kept by the manifest, which every decision changes
const BY_UID = "marks:"; // and then by uid, which exact twins share
const UID = /^[0-9a-f]{32}$/;
const AT_ONCE = 64; // places that the server looks up in one request
const listeners = new Set();

/** Labels that are no labels; the message names the line. */
export class NoLabels extends Error {}

export class Opinions {
  /** `corpus` names its samples, however they are decided; `sha256` is of the manifest. */
  constructor(corpus, sha256) {
    this.key = `labels:${corpus}`;
    this.all = stored(this.key) ?? {};
    for (const key of [BY_UID + corpus, FORMER + sha256]) {
      const former = stored(key);
      if (former) this.change((all) => { Object.assign(all, { ...byPlace(former), ...all }); }, null, key);
    }
    addEventListener("storage", (event) => {
      if (event.key !== this.key && event.key !== null) return;
      this.all = stored(this.key) ?? {};
      tell(null);
    });
  }

  /** Of the sample that `tile` is of; a label holds only where its place has its uid. */
  of(tile) {
    const name = placeOf(tile);
    return Object.hasOwn(this.all, name) && this.all[name].uid === tile.uid ? this.all[name].label : "";
  }

  set(tile, label) {
    this.change((all) => {
      if (this.of(tile) === label) delete all[placeOf(tile)];
      else all[placeOf(tile)] = { uid: tile.uid, label };
    }, placeOf(tile));
  }

  get count() {
    return Object.keys(this.all).length;
  }

  counted(label) {
    return Object.values(this.all).filter((one) => one.label === label).length;
  }

  /** One JSON object a line, by shard and row; `sha256` is of the manifest that they were made on. */
  save(sha256) {
    const marks = Object.entries(this.all).map(([name, { uid, label }]) => ({ uid, ...placeNamed(name), label, corpus: sha256 }));
    const lines = marks.sort((a, b) => a.shard - b.shard || a.row - b.row).map((mark) => JSON.stringify(mark));
    const blob = new Blob([lines.map((line) => `${line}\n`).join("")], { type: "application/x-ndjson" });
    const anchor = document.createElement("a");
    anchor.href = URL.createObjectURL(blob);
    anchor.download = `labels-${sha256.slice(0, 8)}.jsonl`;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
  }

  /** Adds the labels of a file, which win over marks made here; gives their number. */
  async take(text, of) {
    const found = labelsOf(text);
    const names = Object.keys(found);
    if (!names.length) throw new NoLabels("no label is in this file");
    let here = 0;
    for (let start = 0; start < names.length && !here; start += AT_ONCE)
      here = (await standing(of, found, names.slice(start, start + AT_ONCE))).length;
    if (!here) throw new NoLabels("none of its labels is of a sample of this corpus");
    this.change((all) => { Object.assign(all, found); }, null);
    return names.length;
  }

  /** Marks that lie in this browser under manifests of the past, of whatever corpus. */
  get former() {
    return formerKeys().reduce((sum, key) => sum + Object.keys(stored(key) ?? {}).length, 0);
  }

  /** Takes over those of them whose samples are here; gives their number. */
  async recover(of) {
    let taken = 0;
    for (const key of formerKeys()) {
      const old = byPlace(stored(key) ?? {});
      const places = await located(of, old);
      this.change((all) => { for (const [name, place] of places) all[place] ??= old[name]; }, null);
      const rest = Object.keys(old).filter((name) => !places.has(name));
      const kept = Object.fromEntries(rest.map((name) => [name, { ...old[name], ...placeNamed(name) }]));
      if (rest.length) localStorage.setItem(key, JSON.stringify(kept)); else localStorage.removeItem(key);
      taken += places.size;
    }
    tell(null);
    return taken;
  }

  clear() {
    this.change((all) => { for (const name of Object.keys(all)) delete all[name]; }, null);
  }

  /** Another tab may have marked since: what is stored is what is changed. */
  change(edit, name, moved = "") {
    this.all = stored(this.key) ?? this.all;
    edit(this.all);
    try {
      localStorage.setItem(this.key, JSON.stringify(this.all));
      if (moved) localStorage.removeItem(moved);
    } catch {
      toast("This browser stores nothing: save the labels before you leave");
    }
    tell(name);
  }
}

/** Where a sample lies: twins share a uid, and are marked apart. */
export const placeOf = ({ shard, row }) => `${shard}:${row}`;

function placeNamed(name) {
  const [shard, row] = name.split(":").map(Number);
  return { shard, row };
}

/** Labels that were kept by uid, each with its place (or by place already), by place; the others are left out. */
function byPlace(former) {
  const found = {};
  for (const [name, said] of Object.entries(former)) {
    const { uid = name, shard, row, label } = said ?? {};
    if (isLabel(uid, shard, row, label)) found[placeOf({ shard, row })] = { uid, label };
  }
  return found;
}

const isLabel = (uid, shard, row, label) => typeof uid === "string" && UID.test(uid)
  && [shard, row].every((n) => Number.isSafeInteger(n) && n >= 0) && (label === "keep" || label === "drop");

/** Those of the named places that have the uid which their label says. */
async function standing(of, labels, names) {
  const said = await ask("places", { of, place: names.map((name) => `${name}:${labels[name].uid}`) });
  return said.places;
}

/** Where the labelled samples lie here, by where they lay: a corpus may have been ingested anew. */
async function located(of, labels) {
  const names = Object.keys(labels), places = new Map();
  for (let start = 0; start < names.length; start += AT_ONCE) {
    const some = names.slice(start, start + AT_ONCE);
    for (const name of await standing(of, labels, some)) places.set(name, name);
    const gone = new Map(some.filter((name) => !places.has(name)).map((name) => [labels[name].uid, name]));
    for (const tile of gone.size ? (await ask("uids", { of, uid: [...gone.keys()] })).tiles : [])
      places.set(gone.get(tile.uid), placeOf(tile));
  }
  return places;
}

function stored(key) {
  try {
    const found = JSON.parse(localStorage.getItem(key));
    return found && typeof found === "object" ? found : null;
  } catch {
    return null;
  }
}

function formerKeys() {
  try {
    return Object.keys(localStorage).filter((key) => key.startsWith(FORMER));
  } catch {
    return [];
  }
}

/** Labels by place. Raises NoLabels for a line that is none, or that contradicts another. */
function labelsOf(text) {
  const found = {}, lines = {};
  text.split("\n").forEach((line, nth) => {
    if (!line.trim()) return;
    let said = null;
    try { said = JSON.parse(line); } catch { /* told below, as what has other fields is */ }
    const { uid, shard, row, label } = said ?? {};
    if (!isLabel(uid, shard, row, label))
      throw new NoLabels(`line ${nth + 1}: a label has uid, shard, row, and label: keep or drop`);
    const name = placeOf({ shard, row });
    if (Object.hasOwn(found, name) && (found[name].label !== label || found[name].uid !== uid))
      throw new NoLabels(`line ${nth + 1} contradicts line ${lines[name]}`);
    found[name] = { uid, label };
    lines[name] ??= nth + 1;
  });
  return found;
}

function tell(name) {
  for (const listener of listeners) listener(name);
}

export function onOpinion(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
