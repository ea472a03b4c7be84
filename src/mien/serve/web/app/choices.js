// The user's choices: model, threshold, and where to process; and what the page says about them.

import { listModels, onTokenNeeded, server } from "./api.js";
import { $, el, say, sentence, errorBox } from "./dom.js";
import { list } from "./names.js";
import { here, prepare } from "./private/client.js";

const PRIVATE_NOTE = "Private: pictures are processed in this browser and not sent anywhere.";

export const choices = { reader: server, model: null, threshold: 0.5, models: [] };

/** Set up the controls; calls `changed("model" | "threshold" | "where")` when one changes. */
export async function setUp(changed) {
  onTokenNeeded(askForToken);
  $("threshold").addEventListener("input", () => {
    setThreshold(Number($("threshold").value));
    changed("threshold");
  });
  $("model").addEventListener("change", async () => {
    choose($("model").value);
    if (choices.reader === here) await goPrivate();
    changed("model");
  });
  $("where").addEventListener("change", async ({ target }) => {
    if (target.value === "private") await goPrivate();
    else goServer();
    changed("where");
  });
  await load(changed);
}

async function load(changed) {
  try {
    choices.models = await listModels();
  } catch (error) {
    $("where-note").hidden = false;
    $("where-note").replaceChildren(errorBox(error, { name: "Try again", run: () => load(changed) }));
    return;
  }
  $("where-note").hidden = true;
  $("model").replaceChildren(...choices.models.map(({ name }) => el("option", { value: name }, name)));
  choose((choices.models.find((model) => model.default) ?? choices.models[0]).name);
  if (location.hash === "#private") {
    $("where").querySelector("[value=private]").checked = true;
    await goPrivate();
  }
  document.body.dataset.ready = "true";
}

function choose(name) {
  choices.model = choices.models.find((model) => model.name === name);
  $("model").value = name;
  setThreshold(choices.model.unsure_below ?? 0.5);
  $("labels").textContent = list(choices.model.labels);
  describe(choices.model);
}

function setThreshold(value) {
  choices.threshold = value;
  $("threshold").value = value;
  $("threshold").style.setProperty("--fill", `${(100 * value) / Number($("threshold").max)}%`);
  $("threshold-value").textContent = percent0(value);
  $("threshold").setAttribute("aria-valuetext", percent0(value));
}

const percent1 = (fraction) => `${(100 * fraction).toFixed(1)}%`;
const percent0 = (fraction) => `${Math.round(100 * fraction)}%`;

/** Show what the model's file says about it. */
function describe({ name, labels, parameters, licence, metrics }) {
  const { consensus, split } = metrics ?? {};
  const accuracy = consensus?.accuracy;
  const right = $("fact-right");
  let quality = "";
  if (accuracy) {
    const figure = percent1(accuracy.value);
    const rest = ` of ${consensus.n.toLocaleString("en")} pictures (95% interval ${percent1(accuracy.low)} to ${percent1(accuracy.high)})`;
    const recall = Object.entries(consensus.recall ?? {}).map(([label, { value }]) => `${label} ${percent0(value)}`);
    const found = recall.length ? ` It finds ${list(recall, "and")} of them.` : "";
    right.replaceChildren("It agrees with the majority of ten people in ", el("b", {}, figure), `${rest}, on ${split} data.${found}`);
    quality = `On ${split} data it agrees with the majority of ten raters in ${figure}${rest}.${found} This is not a test result: the best epoch was chosen on the same data.`;
  } else right.textContent = "This model's file states no accuracy.";
  $("about-model").replaceChildren(el("h3", {}, `This model: ${name}`),
    el("p", {}, `Labels: ${list(labels, "and")}. ${parameters ? `${parameters.toLocaleString("en")} parameters. ` : ""}${licence ? `Licence: ${licence}. ` : ""}`, quality));
}

async function goPrivate() {
  const note = $("where-note");
  const bar = el("progress", { max: 1, value: 0, "aria-label": "Download progress" });
  note.hidden = false;
  note.className = "note";
  note.replaceChildren("Downloading the models, once", bar);
  document.body.dataset.private = "loading";
  try {
    await prepare(choices.model, (fraction) => (bar.value = fraction));
  } catch (error) {
    $("where").querySelector("[value=server]").checked = true;
    goServer();
    note.hidden = false;
    note.classList.add("bad");
    note.textContent = `${sentence(error.message)} ${sentence(error.hint)}`;
    return;
  }
  choices.reader = here;
  document.body.dataset.private = "on";
  note.textContent = PRIVATE_NOTE;
  $("fact-where").textContent = "Nowhere. They are processed in this browser and never sent.";
  history.replaceState(null, "", "#private");
  say(PRIVATE_NOTE);
}

function goServer() {
  choices.reader = server;
  $("where-note").hidden = true;
  $("fact-where").textContent = "To the server that sent you this page. It keeps no picture.";
  document.body.dataset.private = "off";
  history.replaceState(null, "", location.pathname);
}

let asking = null;

/** Ask the user for the server's token; concurrent callers share one dialog. */
function askForToken(refused) {
  asking ??= new Promise((resolve) => {
    const dialog = $("token"), field = $("token-value");
    if (refused) $("token-title").textContent = "That token is wrong";
    dialog.onclose = () => {
      asking = null;
      const value = field.value.trim();
      field.value = "";
      resolve(dialog.returnValue === "cancel" ? null : value || null);
    };
    dialog.returnValue = "";
    dialog.showModal();
  });
  return asking;
}
