// An example page of @mien/browser: an image or the camera, read without a server of ours.

import { MIEN_VERSION, Reader } from "../index.js"; // elsewhere: from "@mien/browser"

const $ = (id) => document.getElementById(id);
const view = $("view"), pen = view.getContext("2d"), video = $("video");
const controls = [$("file"), $("example"), $("camera")];
let reader, stopCamera = null;

const percent = (p) => (p > 0.99 ? ">99%" : p < 0.01 ? "<1%" : `${Math.round(100 * p)}%`);

function status(text, bad = false) {
  $("status").textContent = text;
  $("status").classList.toggle("bad", bad);
}

/** Errors have a message, and those of the package a hint. */
function failed(error) {
  status(`${error.message}.${error.hint ? ` ${error.hint}.` : ""}`, true);
}

function title({ label, confidence, track, quality }) {
  const name = label === null ? `not read: ${quality}` : label === "unsure" ? label : `${label} ${percent(confidence)}`;
  return track ? `Face ${track}: ${name}` : name;
}

function draw(source, width, height, faces) {
  document.body.dataset.shown = "true";
  Object.assign(view, { width, height });
  pen.drawImage(source, 0, 0, width, height);
  const unit = width / (view.clientWidth || width); // text of one size, whatever the image's
  pen.font = `600 ${15 * unit}px system-ui, sans-serif`;
  for (const face of faces) {
    const [x0, y0, x1, y1] = face.box, text = title(face);
    const wide = pen.measureText(text).width + 10 * unit, high = 22 * unit;
    const left = Math.max(0, Math.min(x0, width - wide)), top = Math.max(0, y0 - high);
    pen.lineWidth = 3 * unit;
    pen.strokeStyle = pen.fillStyle = "#1f5f8b";
    pen.strokeRect(x0, y0, x1 - x0, y1 - y0);
    pen.fillRect(left, top, wide, high);
    pen.fillStyle = "#fff";
    pen.fillText(text, left + 5 * unit, top + 16 * unit);
  }
  view.setAttribute("aria-label", faces.length ? `Faces: ${faces.map(title).join("; ")}` : "No face found");
  $("faces").replaceChildren(...faces.map(card));
}

function card(face) {
  const item = document.createElement("li"), name = document.createElement("strong");
  name.textContent = title(face);
  const rows = Object.entries(face.probabilities ?? {}).map(([label, p]) => {
    const row = document.createElement("div"), meter = document.createElement("meter");
    const [left, right] = [label, percent(p)].map((text) =>
      Object.assign(document.createElement("span"), { textContent: text }));
    meter.value = p;
    meter.setAttribute("aria-label", label);
    row.className = "row";
    row.append(left, meter, right);
    return row;
  });
  item.append(name, ...rows);
  return item;
}

async function readImage(blob) {
  stopCamera?.();
  status("Reading…");
  try {
    const faces = await reader.read(blob);
    const image = await createImageBitmap(blob);
    draw(image, image.width, image.height, faces);
    status(faces.length ? `${faces.length} ${faces.length === 1 ? "face" : "faces"}.` : "No face found.");
  } catch (error) {
    failed(error);
  }
}

async function startCamera() {
  const stream = await navigator.mediaDevices.getUserMedia({ video: { width: 640, height: 480 } });
  const tracker = await reader.track();
  let on = true;
  stopCamera = () => {
    on = false;
    stopCamera = null;
    stream.getTracks().forEach((track) => track.stop());
    $("camera").setAttribute("aria-pressed", "false");
    $("camera").textContent = "Camera";
  };
  $("camera").setAttribute("aria-pressed", "true");
  $("camera").textContent = "Stop the camera";
  video.srcObject = stream;
  await video.play();
  status("Camera.");
  try {
    while (on) {
      const faces = await tracker.read(video);
      if (on) draw(video, video.videoWidth, video.videoHeight, faces);
      await new Promise(requestAnimationFrame);
    }
  } finally {
    stopCamera?.();
    await tracker.close();
  }
}

$("file").onchange = ({ target }) => target.files[0] && readImage(target.files[0]);
$("example").onclick = async () => readImage(await (await fetch("astronaut.jpg")).blob());
$("camera").onclick = () => (stopCamera ? stopCamera() : startCamera().catch((error) => {
  failed(error.name === "NotAllowedError" ? new Error("The camera may not be used by this page") : error);
}));

controls.forEach((one) => (one.disabled = true));
try {
  const runtime = new URLSearchParams(location.search).get("runtime") ?? undefined;
  reader = await Reader.create({ runtime, onProgress: (fraction) => ($("progress").value = fraction) });
  $("about").textContent = `mien ${MIEN_VERSION}, ${reader.model.name} on ${reader.providers.classifier}, `
    + `${reader.labels.join(", ")}; below ${percent(reader.minConfidence)} it says unsure.`;
  controls.forEach((one) => (one.disabled = false));
  $("progress").hidden = true;
  status("Open an image, or start the camera.");
  document.body.dataset.ready = "true";
} catch (error) {
  failed(error);
}
