// The button in the header that tells how much is marked, and what can be done with the marks.

import { h, number, put, toast } from "./dom.js";
import { NoLabels, onOpinion } from "./opinions.js";

const MOST = 64 << 20; // bytes of a labels file

const counted = (n) => `${number(n)} label${n === 1 ? "" : "s"}`;

export function labelsButton(context) {
  const { count } = context.opinions(context.of);
  return h("button", {
    id: "labels", class: "quiet", title: "Save, import or clear what you marked", onclick: () => open(context),
  }, count ? counted(count) : "Labels");
}

function open(context) {
  const { of } = context;
  const opinions = context.opinions(of);
  const body = h("div", {});
  const draw = () => put(body, told(opinions), h("div", { class: "choices" }, save(opinions, context.overviews[of].sha256), take(opinions, of), clear(opinions)), former(opinions, of));
  const forget = onOpinion(draw);
  const dialog = h("dialog", { class: "help", "aria-label": "labels", onclose: () => { forget(); dialog.remove(); } },
    h("h2", {}, "Labels"), body, h("form", { method: "dialog" }, h("button", {}, "Close")));
  draw();
  document.body.append(dialog);
  dialog.showModal();
}

function told(opinions) {
  if (!opinions.count) return h("p", { class: "soft" }, "Nothing is marked yet: k says keep, d says drop.");
  return [h("p", {}, `${number(opinions.counted("keep"))} keep, ${number(opinions.counted("drop"))} drop`),
    h("p", { class: "soft small" }, "They stay in this browser, for this corpus however it is decided. From a saved file curate tune fits thresholds.")];
}

const save = (opinions, sha256) => h("button", { disabled: !opinions.count, onclick: () => opinions.save(sha256) }, `Save ${counted(opinions.count)}`);

function take(opinions, of) {
  const box = h("input", { type: "file", accept: ".jsonl,.ndjson,application/x-ndjson", hidden: true, "aria-label": "labels file", onchange: async () => {
    const [file] = box.files;
    if (!file) return;
    try {
      if (file.size > MOST) throw new NoLabels("the file is larger than 64 MB");
      toast(`Imported ${counted(await opinions.take(await file.text(), of))}`);
    } catch (error) {
      toast(error.message);
    }
    box.value = "";
  } });
  return [h("button", { onclick: () => box.click() }, "Import a file"), box];
}

/** Twice, as nothing brings them back. */
function clear(opinions) {
  const button = h("button", { disabled: !opinions.count, onclick: () => {
    if (button.dataset.sure) { opinions.clear(); return; }
    button.dataset.sure = "yes";
    button.textContent = `Clear ${counted(opinions.count)} for good`;
  } }, "Clear");
  return button;
}

/** Marks of an earlier version of the viewer, which lost sight of them when a corpus was decided anew. */
function former(opinions, of) {
  const count = opinions.former;
  if (!count) return null;
  return h("p", { class: "soft small former" }, `This browser also holds ${counted(count)} under former decisions, of this corpus or another. `,
    h("button", { class: "quiet small", onclick: async (event) => {
      event.target.disabled = true;
      try {
        const taken = await opinions.recover(of);
        toast(taken ? `Brought back ${counted(taken)}` : "None of them is of a sample of this corpus");
      } catch (error) {
        toast(error.message);
      }
    } }, "Look for them here"));
}
