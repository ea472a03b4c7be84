// The video, or single frames of it, with the faces' boxes; or why there is none.

import { $, el, icon } from "/assets/app/dom.js";
import { hue } from "/assets/app/names.js";
import { frameAddress, missing } from "./api.js";
import { facesAt, wantMoments } from "./moments.js";
import { previewAt } from "./previews.js";
import { announce, clamp, laneName, moment, source, store } from "./store.js";

const TINY_S = 0.001, REST_MS = 80, MAX_REST_MS = 400, NEAR_S = 0.25;

let video = null, image = null, overlay = null, preview = null, pending = null, timer = 0, last = null, isLoading = false;
/** The moment that was wished for last, the one whose frame is there, when the wish came, the frame on its way. */
let wanted = 0, shown = null, since = 0, asked = 0;
/** Times of a timeline without a video: it plays by the clock. */
let clock = null;

/** The moment of the source at which the video starts: a copy may be of a part. */
const offset = () => source().offset_s ?? 0;

export const isPlaying = () => (video ? !video.paused : clock !== null);

/** Show the video of the source. */
export function mount() {
  pause();
  clearTimeout(timer);
  video = image = last = shown = null;
  pending = null;
  isLoading = false;
  const { video: address, note } = source();
  overlay = el("div", { class: "overlay" });
  preview = el("canvas", { class: "preview", hidden: true, "aria-hidden": "true" });
  if (!address) {
    overlay = preview = null;
    $("frame").replaceChildren(el("div", { class: "absent" }, icon("none"), el("p", {}, note || "There is no video.")));
    return;
  }
  video = el("video", { src: address, preload: "auto", playsinline: true, "aria-label": "Video" });
  video.addEventListener("error", showFrames);
  video.addEventListener("seeked", () => arrived(video.currentTime + offset()));
  video.addEventListener("loadedmetadata", () => { seek(moment()); drawBoxes(); });
  for (const name of ["play", "pause", "ended"]) video.addEventListener(name, () => announce("playing"));
  video.addEventListener("click", toggle);
  place(video);
}

/** The frame of a moment is there. */
function arrived(time) {
  shown = time;
  if (pending !== null) return seekOn();
  showPreview();
  drawBoxes(); // there are none on a preview
}

/** Show the preview of the wished moment where it is nearer than the frame that is there. */
function showPreview() {
  if (!preview) return false;
  const found = isPlaying() ? null : previewAt(wanted);
  const isNearer = found && (shown === null || Math.abs(found.time - wanted) < Math.abs(shown - wanted) - NEAR_S);
  preview.hidden = !isNearer;
  if (!isNearer) {
    preview.dataset.time = "";
    return false;
  }
  if (preview.dataset.time === String(found.time)) return true;
  const { bitmap, x, y, width, height } = found;
  if (preview.width !== width || preview.height !== height) Object.assign(preview, { width, height });
  preview.getContext("2d").drawImage(bitmap, x, y, width, height, 0, 0, width, height);
  preview.dataset.time = String(found.time);
  return true;
}

function place(media) {
  $("frame").replaceChildren(el("div", { class: "image" }, el("div", { class: "media" }, media, preview, overlay)));
}

function showMissing() {
  overlay = preview = null;
  $("frame").replaceChildren(el("div", { class: "absent" }, icon("warning"), el("p", {}, missing(source()))));
  announce("playing");
}

/** The browser cannot play the format: the server decodes single frames. */
function showFrames() {
  if (!video) return;
  video = null;
  if (!frameAddress(store.number, 0)) return showMissing();
  image = el("img", { alt: "Frame of the video" });
  image.addEventListener("load", () => { isLoading = false; drawBoxes(); arrived(asked); });
  image.addEventListener("error", () => {
    image = null;
    showMissing();
  });
  place(image);
  announce("playing");
  seek(moment());
}

/**
 * Show the frame at a moment. While another one is on its way, only the latest wish is kept. While
 * somebody scrubs and previews show the moments, the video is sought once the pointer rests.
 */
export function seek(time, scrubs = false) {
  const now = performance.now(), gap = now - since;
  [wanted, since] = [time, now];
  clearTimeout(timer);
  const previewed = showPreview();
  if (video && video.readyState < 1) pending = time;
  else if (scrubs && previewed) rest(gap);
  else if (video ? video.seeking : isLoading) pending = time;
  else go(time);
}

/** Seek once the pointer rests: decoding would take from the page what it needs to follow. */
function rest(gap) {
  pending = null;
  // On a busy machine the pointer's events come rarely.
  timer = setTimeout(() => {
    if (video?.seeking) pending = wanted;
    else go(wanted);
  }, clamp(2 * gap, REST_MS, MAX_REST_MS));
}

function go(time) {
  if (video) video.currentTime = time - offset() + TINY_S;
  else if (image) {
    const step = source().step_s, path = frameAddress(store.number, Math.round(time / step) * step);
    asked = time;
    if (path === last) return;
    isLoading = true;
    image.src = last = path;
  }
}

function seekOn() {
  if (pending === null) return;
  const time = pending;
  pending = null;
  go(time);
}

export function toggle() {
  if (isPlaying()) pause();
  else play();
}

function play() {
  store.hover = null;
  if (store.head >= source().end_s - source().step_s) store.head = 0;
  if (video) {
    video.currentTime = store.head - offset() + TINY_S;
    video.play().catch(showFrames);
  } else clock = { at: performance.now(), head: store.head };
  showPreview();
  announce("playing");
  requestAnimationFrame(follow);
}

export function pause() {
  if (video && !video.paused) video.pause();
  clock = null;
  announce("playing");
}

/** Move the head with the video, or with the clock. */
function follow(now) {
  if (!isPlaying()) return;
  store.head = video ? video.currentTime + offset() : clock.head + Math.max(now - clock.at, 0) / 1000;
  if (video) shown = store.head;
  store.head = clamp(store.head, 0, source().end_s);
  if (image) seek(store.head);
  if (!video && store.head >= source().end_s) pause();
  wantMoments(store.head, true);
  announce("time");
  requestAnimationFrame(follow);
}

/** Draw the boxes of the moment that is shown. */
export function drawBoxes() {
  if (!overlay) return;
  const width = video ? video.videoWidth : image?.naturalWidth, height = video ? video.videoHeight : image?.naturalHeight;
  const faces = facesAt(moment()) ?? [];
  // Of a reduced frame only the proportions are known; its boxes would be too large.
  if (!width || image || preview?.hidden === false) return overlay.replaceChildren();
  overlay.replaceChildren(...faces.map(({ lane, box, label }) => {
    const [x0, y0, x1, y1] = box, own = source().lanes.find((one) => one.id === lane);
    const name = own?.kind === "not_a_face" ? "not a face" : own ? laneName(own) : "";
    const node = el("div", { class: `face-box ${label === "unsure" ? "unsure" : ""} ${y0 < height * 0.09 ? "low" : ""}` }, el("span", {}, `${name}  ${label}`));
    Object.assign(node.style, {
      left: `${(x0 / width) * 100}%`, top: `${(y0 / height) * 100}%`,
      width: `${((x1 - x0) / width) * 100}%`, height: `${((y1 - y0) / height) * 100}%`,
    });
    node.style.setProperty("--hue", hue(label));
    return node;
  }));
}
