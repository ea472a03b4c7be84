// The page; read this first. A source (images, a video, the camera) becomes a session, which fills
// the stage. `choices` holds where to process, the model, and the threshold.

import { Camera } from "./camera.js";
import { choices, setUp } from "./choices.js";
import { $, say } from "./dom.js";
import { save } from "./download.js";
import { Images } from "./images.js";
import * as stage from "./stage.js";
import { Video } from "./video.js";

let session = null;

function main() {
  setUp((what) => {
    if (what === "threshold") session?.rename();
    else session?.again();
  });
  takeFiles();
  $("camera").onclick = () => begin("camera", new Camera(choices)).start();
  $("again").onclick = goHome;
  document.querySelector(".mark").onclick = (event) => {
    event.preventDefault();
    goHome();
  };
  $("save-json").onclick = () => save(`${session.fileName}.json`, session.json(), "application/json");
  $("save-csv").onclick = () => save(`${session.fileName}.csv`, session.csv(), "text/csv");
  $("save-png").onclick = async () => save(`${session.fileName}-mien.png`, await session.png(), "image/png");
  for (const id of ["about-open", "about-more", "about-results"]) $(id).onclick = () => $("about").showModal();
  $("about").onclick = ({ target }) => {
    if (target === $("about") || target.closest("[data-close]")) $("about").close();
  };
  addEventListener("pagehide", () => session?.close());
  addEventListener("pageshow", ({ persisted }) => persisted && goHome());
}

/** Open files that were dropped, chosen or pasted. */
function open(files) {
  if (!choices.model) return;
  const video = files.find(({ type }) => type.startsWith("video/"));
  const images = files.filter(({ type }) => !type.startsWith("video/"));
  if (video) {
    begin("video", new Video(choices, video)).start();
    if (files.length > 1) say("Only the video was opened; open pictures separately.");
  } else if (images.length) {
    if (!(session instanceof Images)) begin("images", new Images(choices));
    session.add(images);
  }
}

function begin(view, next) {
  session?.close();
  stage.reset();
  session = next;
  show(view);
  return session;
}

function goHome() {
  session?.close();
  session = null;
  stage.reset();
  show("start");
  $("choose").focus();
}

function show(view) {
  document.body.dataset.view = view;
  $("start").hidden = view !== "start";
  $("stage").hidden = $("results").hidden = view === "start";
  scrollTo(0, 0);
  if (view !== "start") $("again").focus({ preventScroll: true });
}

function takeFiles() {
  $("choose").onclick = () => $("files").click();
  $("files").onchange = ({ target }) => {
    open([...target.files]);
    target.value = "";
  };
  for (const button of document.querySelectorAll("[data-example]")) {
    button.onclick = async () => {
      const name = button.dataset.example;
      // From the cache: the page shows it already.
      const answer = await fetch(`/assets/examples/${name}`, { cache: "force-cache" });
      open([new File([await answer.blob()], name, { type: "image/jpeg" })]);
    };
  }
  addEventListener("paste", ({ clipboardData }) => open([...clipboardData.files]));
  let depth = 0;
  const veil = (change) => {
    depth = change ? Math.max(depth + change, 0) : 0;
    $("veil").hidden = depth === 0;
  };
  addEventListener("dragenter", ({ dataTransfer }) => dataTransfer?.types.includes("Files") && veil(1));
  addEventListener("dragleave", () => veil(-1));
  addEventListener("dragover", (event) => event.preventDefault());
  addEventListener("drop", (event) => {
    event.preventDefault();
    veil(0);
    open([...event.dataTransfer.files]);
  });
}

main();
