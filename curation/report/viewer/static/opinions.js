// Keep and drop, as you see it: stays in this browser until it is saved as a file.

import { toast } from "./dom.js";

const listeners = new Set();

export class Opinions {
  constructor(sha256) {
    this.sha256 = sha256;
    this.key = `opinions:${sha256}`;
    try {
      this.all = JSON.parse(localStorage.getItem(this.key) ?? "{}");
    } catch {
      this.all = {};
    }
  }

  of(uid) {
    return Object.hasOwn(this.all, uid) ? this.all[uid].label : "";
  }

  set(tile, label) {
    if (this.of(tile.uid) === label) delete this.all[tile.uid];
    else this.all[tile.uid] = { shard: tile.shard, row: tile.row, label };
    try {
      localStorage.setItem(this.key, JSON.stringify(this.all));
    } catch {
      toast("This browser stores nothing: save the labels before you leave");
    }
    for (const listener of listeners) listener(tile.uid);
  }

  get count() {
    return Object.keys(this.all).length;
  }

  /** One JSON object a line, by uid. */
  save() {
    const lines = Object.keys(this.all).sort().map((uid) =>
      JSON.stringify({ uid, ...this.all[uid], corpus: this.sha256 }));
    const blob = new Blob([lines.map((line) => `${line}\n`).join("")], { type: "application/x-ndjson" });
    const anchor = document.createElement("a");
    anchor.href = URL.createObjectURL(blob);
    anchor.download = `labels-${this.sha256.slice(0, 8)}.jsonl`;
    anchor.click();
    setTimeout(() => URL.revokeObjectURL(anchor.href), 1000);
  }

  clear() {
    this.all = {};
    localStorage.removeItem(this.key);
    for (const listener of listeners) listener(null);
  }
}

export function onOpinion(listener) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}
