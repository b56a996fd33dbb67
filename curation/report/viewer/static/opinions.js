// Keep and drop, as you see it: stays in this browser until it is saved as a file.

import { ask } from "./api.js";
import { toast } from "./dom.js";

const FORMER = "opinions:"; // marks were once kept by the manifest, which every decision changes
const UID = /^[0-9a-f]{32}$/;
const AT_ONCE = 64; // uids that the server looks up in one request
const listeners = new Set();

/** Labels that are no labels; the message names the line. */
export class NoLabels extends Error {}

export class Opinions {
  /** `corpus` names its samples, however they are decided; `sha256` is of the manifest. */
  constructor(corpus, sha256) {
    this.key = `marks:${corpus}`;
    this.all = stored(this.key) ?? {};
    const former = stored(FORMER + sha256);
    if (former) this.change((all) => { Object.assign(all, { ...former, ...all }); }, null, FORMER + sha256);
    addEventListener("storage", (event) => {
      if (event.key !== this.key && event.key !== null) return;
      this.all = stored(this.key) ?? {};
      tell(null);
    });
  }

  of(uid) {
    return Object.hasOwn(this.all, uid) ? this.all[uid].label : "";
  }

  set(tile, label) {
    this.change((all) => {
      if (this.of(tile.uid) === label) delete all[tile.uid];
      else all[tile.uid] = { shard: tile.shard, row: tile.row, label };
    }, tile.uid);
  }

  get count() {
    return Object.keys(this.all).length;
  }

  counted(label) {
    return Object.values(this.all).filter((one) => one.label === label).length;
  }

  /** One JSON object a line, by uid; `sha256` is of the manifest that they were made on. */
  save(sha256) {
    const lines = Object.keys(this.all).sort().map((uid) => JSON.stringify({ uid, ...this.all[uid], corpus: sha256 }));
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
    const uids = Object.keys(found);
    if (!uids.length) throw new NoLabels("no label is in this file");
    const here = await ask("uids", { of, uid: uids.slice(0, AT_ONCE) });
    if (!here.total) throw new NoLabels("none of its labels is of a sample of this corpus");
    this.change((all) => { Object.assign(all, found); }, null);
    return uids.length;
  }

  /** Marks that lie in this browser under manifests of the past, of whatever corpus. */
  get former() {
    return formerKeys().reduce((sum, key) => sum + Object.keys(stored(key) ?? {}).length, 0);
  }

  /** Takes over those of them whose samples are here; gives their number. */
  async recover(of) {
    let taken = 0;
    for (const key of formerKeys()) {
      const old = stored(key) ?? {};
      const uids = Object.keys(old).filter((uid) => UID.test(uid));
      const places = {};
      for (let start = 0; start < uids.length; start += AT_ONCE)
        for (const tile of (await ask("uids", { of, uid: uids.slice(start, start + AT_ONCE) })).tiles)
          places[tile.uid] = { shard: tile.shard, row: tile.row, label: old[tile.uid].label };
      const found = Object.keys(places);
      const rest = Object.fromEntries(Object.entries(old).filter(([uid]) => !Object.hasOwn(places, uid)));
      this.change((all) => { Object.assign(all, { ...places, ...all }); }, null);
      if (Object.keys(rest).length) localStorage.setItem(key, JSON.stringify(rest)); else localStorage.removeItem(key);
      taken += found.length;
    }
    tell(null);
    return taken;
  }

  clear() {
    this.change((all) => { for (const uid of Object.keys(all)) delete all[uid]; }, null);
  }

  /** Another tab may have marked since: what is stored is what is changed. */
  change(edit, uid, moved = "") {
    this.all = stored(this.key) ?? this.all;
    edit(this.all);
    try {
      localStorage.setItem(this.key, JSON.stringify(this.all));
      if (moved) localStorage.removeItem(moved);
    } catch {
      toast("This browser stores nothing: save the labels before you leave");
    }
    tell(uid);
  }
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

/** Labels by uid. Raises NoLabels for a line that is none, or that contradicts another. */
function labelsOf(text) {
  const found = {}, lines = {};
  text.split("\n").forEach((line, nth) => {
    if (!line.trim()) return;
    let said = null;
    try { said = JSON.parse(line); } catch { /* told below, as what has other fields is */ }
    const { uid, shard, row, label } = said ?? {};
    const whole = Number.isSafeInteger(shard) && Number.isSafeInteger(row) && shard >= 0 && row >= 0;
    if (!(typeof uid === "string" && UID.test(uid) && whole && (label === "keep" || label === "drop")))
      throw new NoLabels(`line ${nth + 1}: a label has uid, shard, row, and label: keep or drop`);
    if (Object.hasOwn(found, uid) && found[uid].label !== label)
      throw new NoLabels(`line ${nth + 1} contradicts line ${lines[uid]}`);
    found[uid] = { shard, row, label };
    lines[uid] ??= nth + 1;
  });
  return found;
}

function tell(uid) {
  for (const listener of listeners) listener(uid);
}

export function onOpinion(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
