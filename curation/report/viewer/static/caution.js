// What a reader must know wherever embeddings are shown.

import { h } from "./dom.js";

/** A warning where the corpus's CLIP cannot judge it; nothing otherwise. */
export const caution = (context) => context.overview.has.clip_fails
  ? h("p", { class: "caution", role: "note" }, "This CLIP cannot judge this corpus: what it finds near means little.")
  : null;
